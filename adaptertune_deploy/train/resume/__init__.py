"""Trainings that survive: what is kept of one that is stopped or killed, and how it goes on."""
