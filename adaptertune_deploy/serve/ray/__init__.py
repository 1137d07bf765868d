"""The same application on Ray Serve: several replicas of the whole engine with all tasks."""
