"""The shipped run in other tools' formats: claims-cli and RO-Crate."""
