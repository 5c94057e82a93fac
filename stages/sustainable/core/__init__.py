"""What every stage needs: errors, files, hashes, parameters, determinism. Imports no other package here."""
