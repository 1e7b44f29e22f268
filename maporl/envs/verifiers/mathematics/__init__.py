"""Mathematical answers: found in a message (`answers`), spelled in one way (`notation`, `spelling`), refused where no parser would come
back in time (`shape`), compared by Math-Verify in processes of its own (`worker`). The verifier is `expression`."""
