"""Configuration, state layouts, random numbers, history and files: what every other room builds on."""
