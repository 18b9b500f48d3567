"""Evidence that anybody can check: canonical JSON, signatures, statements, a Merkle log and the verifier.

Everything here runs with the standard library, `cryptography` and `rfc8785` alone, and verifying without `cryptography`
too, so that an auditor needs none of the machinery that made the model. Nothing is imported on behalf of the caller:
name the module you need.
"""
