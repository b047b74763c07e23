"""Keras 3 models as TFLite files: conversion in a child process, small files, answers from them."""

from __future__ import annotations

from compression.tflite.answers import ask
from compression.tflite.conversion import Numbers, convert
from compression.tflite.recurrent import recurrent_layers

__all__ = ["Numbers", "ask", "convert", "recurrent_layers"]
