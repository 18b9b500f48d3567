"""How a request looks to those who answer for it: deadline, recipients, letters, page and register.

Everything here is drawn from dates, counts and codes; no name and no text of a row fits into any of it.
"""
