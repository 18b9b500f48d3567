"""Other people's formats for what a run has shown: views of the signed statement, drawn from it and from nothing else.

None of them is the record. Each says less than the certificate and names its digest, so that whoever reads one can ask
for the other.
"""
