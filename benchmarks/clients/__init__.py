"""Clients of servers, light and hostile ones, and what they ask."""
