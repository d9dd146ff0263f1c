"""What samplings and weightings are made of: their base class, their list, and their text form."""
