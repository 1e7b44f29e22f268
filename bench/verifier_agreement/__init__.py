"""How often do the verifiers agree with known labels? ``python -m bench.verifier_agreement``; docs/verifier_calibration.md is its table.

`cases` reads labelled cases, `verifiers` says which verifiers are measured on them, `measure` compares, `report` writes it down,
`disagreements` says why the two differ where they do.
"""
