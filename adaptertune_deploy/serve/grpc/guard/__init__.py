"""What stands between gRPC's clients and gRPC's library, and bounds what a connection may send and withhold."""
