"""What setup.cfg has no words for: the extension in C. All else is there."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "serving.server.rest._numbers",
            ["serving/server/rest/_numbers.c"],
            extra_compile_args=["-O3"],
            optional=True,  # without a compiler the install goes on, and slower code does the work
        )
    ]
)
