"""The floors: what an order costs with the SDK alone, and none of the sample's code.

``bare`` is as little as three activities, a signal and a timer can be: plain strings, the SDK's
defaults, no word to anyone. ``like_for_like`` does the job that an order does: the same commands,
summaries, details and log lines, with payloads of the same size. Above the bare floor is the price
of what a person sees; above the other one, only the price of how the sample is written.

The SDK runs the module of a workflow anew for each order, and the modules that it imports, but for
those passed through. So each workflow has a module to itself; ``bare`` leaves it at that, and
``like_for_like`` passes its activities through, as the sample does.
"""
