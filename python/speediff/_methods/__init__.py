"""Samplings and weightings: their base class, their list and their text form."""
