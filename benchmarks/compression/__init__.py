"""How much smaller and faster compressed versions are than a plain `model.export()`.

    python -m benchmarks.compression --keep                 # every row, an hour with training
    python -m benchmarks.compression --models dense lstm
    python -m benchmarks.compression --runs runs            # runs that are there, not trained anew

Each model is trained by its recipe (or taken from --runs), compressed by the stack in `cases`, and
measured in one interleaved run beside Keras's own float32 export, the zoo's export and the peers:
tfmot's tutorial chain (prune, PQAT, TFLite), Keras `quantize("int8")`, OpenVINO. Accuracy is that
of the test split. Each stack was picked from one to four candidates for runs of seed 0: the least
compression that reaches size and speed without a loss on the validation split. The candidates' test
accuracies had been printed too, so runs of another seed (--seed 1) are the stricter judgement. Two
of the models are distilled with three seeds, beside the same student from scratch.
"""
