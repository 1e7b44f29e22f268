"""IPPO and MAPPO in the collaboration game: training one agent beside a frozen partner against training both, and from where either
learns to collaborate. ``python -m examples.collaboration_game FOLDER`` runs all of it.
"""
