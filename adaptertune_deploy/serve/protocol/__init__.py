"""The Open Inference Protocol v2 apart from any wire: models, requests, answers, descriptions."""
