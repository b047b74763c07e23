"""How fast the model server is: requests a second and how long one takes, over REST and gRPC.

    python -m benchmarks.serving --keep                     # all cases, about eight minutes
    python -m benchmarks.serving --quick --models dense     # a look
    python -m benchmarks.serving --processes 1 2            # two servers, taking turns

To put another server beside it, export into a folder that stays, start that server on it, and name
its ports; every case is then measured on both, in turn:

    python -m benchmarks.serving --quick --store speed
    tensorflow_model_server --port=9500 --rest_api_port=9501 \\
        --model_config_file=speed/models.config
    python -m benchmarks.serving --store speed --rest-port 9501 --grpc-port 9500

The models have fresh weights from a fixed seed: speed does not depend on training. REST is loaded
by wrk, gRPC by h2load, which posts framed PredictRequests over HTTP/2; where they are not
installed, by clients in Python, which take a larger part of the machine for themselves. Clients and
server share the machine's cores, and so does the limit: the server's own session, in a loop.
"""
