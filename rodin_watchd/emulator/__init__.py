"""A stand-in for the Hyper3D Rodin API on this machine, for the demo, for tests and for plugin authors.

It speaks the API contract, really textures the models it is sent, keeps a ledger of what it charged and can be set
to misbehave. It imports nothing of rodin_watchd outside this folder, so that it cannot share the client's mistakes.
"""
