"""The report of one run: a page that a person reads. It shows what the certificate says and proves nothing itself."""
