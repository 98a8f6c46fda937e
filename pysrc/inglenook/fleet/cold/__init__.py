"""Cold starts that are short: a model's weights fetched by several hosts at once, then merged into one worker.

    plan       how many stages, which hosts, from the latencies asked for and free bandwidth
    network    which fetch may begin where, so that those under way still end in time
    split      a model's layers cut into stages of equal bytes
    chunks     weights in checksummed pieces: the manifest, the cache, the fetch
    store      what serves them (HTTP ranges)
    zygote     a warm process that forks into a worker; namespace: into a host's network
    worker     the process that holds stages of a model; channel, remote: how it is spoken to
    machine    where workers are forked: this machine, or another, whose process is host
    pipeline   requests over workers, and their merging into one; flight: an iteration of theirs under way
    crew       one or more of these as one executor
    scale      how many workers the demand calls for
    keeper     from nothing, to more, and back by that demand, on a fleet that models share
    driver     all of it as a worker of the gateway's; outline: what it needs to know of weights elsewhere
    hosts      a test bed: throttled hosts on one machine
    simulate   all of it on a mock clock

After Lou et al., "HydraServe" (2502.15524; its first version is called ParaServe). Only `worker` imports torch.
"""
