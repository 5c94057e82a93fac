"""What every stage needs: arguments, parameters, files, hashes, tasks. Imports no other room."""
