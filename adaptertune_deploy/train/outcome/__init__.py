"""What a training run measured, and how it is told: scores, sentences, the folder that it leaves behind."""
