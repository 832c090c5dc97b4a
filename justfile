# Short names for what people type often; `./test` is the one that counts.

# Runs every check.
test:
    ./test

# Runs the checks without the real control plane.
quick:
    ./test --quick

# Formats and regenerates what is generated.
generate:
    cargo fmt --all
    cargo run -q -p xtask -- crds

# The main job, on the example.
up:
    cargo run --release -- up examples/podinfo
