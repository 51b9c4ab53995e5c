"""AdmissionReviews in the words of `gate`: from a review to a verdict, and back to an answer. Pure; the webhook serves it."""
