"""What every stage needs: errors, files, hashes, parameters, determinism. Imports nothing of the rest."""
