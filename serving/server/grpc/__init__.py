"""The gRPC interface: PredictionService and ModelService over grpc.aio."""
