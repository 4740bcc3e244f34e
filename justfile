# The one entry for people. `just` lists the recipes; the two that matter most need no `just`:
# `cargo bench-full` (the main job) and `cargo test --workspace`. What CI runs is `.ci/run`.
# Get it with `cargo install just` or, quicker, `pip install rust-just`.

set shell := ["bash", "-euo", "pipefail", "-c"]

# Each sanitizer and loom build keeps its own artefacts, so that none evicts another's.
checks := justfile_directory() / "target" / "ci"
host := arch() + "-unknown-linux-gnu"

# List the recipes
[private]
default:
    @{{ just_executable() }} --justfile {{ justfile() }} --list --unsorted

# Run the main job: every phase, the SLO table, reports/report.json, report.md and report.html
bench-full *args:
    cargo bench-full {{ args }}

# Run every scenario, short
bench-quick *args:
    cargo bench-quick {{ args }}

# Measure the undisturbed node and store it as the baseline
bench-baseline *args:
    cargo bench-baseline {{ args }}

# Flood the node: isolation, shedding, recovery
bench-overload *args:
    cargo bench-overload {{ args }}

# Actors and mailboxes only: every metric of the runtime
bench-actors *args:
    cargo run --release --package ninefold-bench -- run actors {{ args }}

# The same beside tokio, actix, ractor, kameo and, where `erl` is installed, the BEAM
bench-peers *args:
    cargo run --release --package ninefold-bench --features peers -- run peers {{ args }}

# A call over HTTP beside its floor, and what connections cost
bench-http *args:
    cargo run --release --package ninefold-bench -- run http conn {{ args }}

# Up to 1,000,000 connections: `just bench-c1m --connections 20000`
bench-c1m *args:
    cargo run --release --package ninefold-bench -- run c1m {{ args }}

# Run the whole runtime under deterministic simulation, by seed
sim *args="--seeds 200":
    cargo run --release --package ninefold-bench -- sim {{ args }}

# Compare report B with report A; a regression beyond 10 % fails
bench-compare a b:
    cargo bench-compare {{ a }} {{ b }}

# Serve MCP on http://127.0.0.1:8080/mcp (release build)
serve *args:
    cargo serve {{ args }}

# Check this host's settings against what a quiet node wants
tune-check *args:
    cargo tune-check {{ args }}

# Make this host fit, put it back, or measure its noise: `just tune plan`, `just tune noise`
tune *args:
    cargo tune {{ args }}

# Which placement is best for a node here? Under ten minutes: `just affinity --dry-run`
affinity *args:
    cargo build --release --package ninefold --package ninefold-bench
    cargo tune experiment tuning/experiments/affinity.toml {{ args }}

# Format the sources in place
fmt:
    cargo fmt --all

# Check format, then clippy with warnings denied
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo clippy --package ninefold-bench --features peers -- -D warnings

# Run every test of the workspace
test *args:
    cargo test --workspace {{ args }}

# Enforce the house rules that no linter knows
tidy:
    cargo test --package ninefold --test tidy

# Race the mesh with many peers under random schedules (shuttle)
shuttle:
    cargo test --package ninefold-runtime --features shuttle --test shuttle_mesh

# Explore the interleavings of the cross-shard mesh (loom)
loom:
    LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS:-2} RUSTFLAGS="--cfg ninefold_loom" \
        CARGO_TARGET_DIR={{ checks }}/loom \
        cargo test --package ninefold-runtime --release --test loom_mesh

# Run the runtime's tests under AddressSanitizer
asan:
    # RUSTC_BOOTSTRAP: the flag is unstable, its runtime ships with stable. Glommio leaks what is
    # cancelled at shutdown; what we look for are wrong accesses.
    ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0} RUSTC_BOOTSTRAP=1 \
        RUSTFLAGS="-Zsanitizer=address" CARGO_TARGET_DIR={{ checks }}/asan \
        cargo test --package ninefold-runtime --target {{ host }} --lib --tests

# Judge the dependency tree: bans, licences, sources
deny:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! command -v cargo-deny >/dev/null; then
        echo "skipped: cargo-deny absent (cargo install --locked cargo-deny)"
        exit 0
    fi
    cargo deny check bans licenses sources

# Write docs/reference/compliance.md from the list of MUSTs and their citations
compliance:
    NINEFOLD_WRITE_COMPLIANCE=1 cargo test --package ninefold --test tidy

# Drive a node of this tree with real clients, and its client against real servers
clients *args:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! command -v npm >/dev/null; then
        echo "skipped: npm absent (install node 18 or later)"
    elif ! python3 -c "import ensurepip" 2>/dev/null; then
        echo "skipped: python3 venv absent (apt-get install python3-venv)"
    else
        .ci/clients/run {{ args }}
    fi

# Run the conformance suite of the specification against a node of this tree
conformance:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! command -v npm >/dev/null; then
        echo "skipped: npm absent (install node 18 or later)"
    else
        .ci/conformance
    fi

# Check the files of docs/deploy with the tools that will read them
deploy:
    .ci/deploy

# Send what two readers might cut differently through haproxy and nginx (installs them)
smuggling:
    .ci/smuggling

# Attack a node with slowhttptest (installs it)
slow:
    .ci/slow

# Send a million damaged requests to a running node
mutants count="1000000":
    NINEFOLD_MUTANTS={{ count }} cargo test --package ninefold --test node mutants:: -- --nocapture

# Fuzz one target (head, framing, envelope, events, values) under AddressSanitizer
fuzz target *args="-max_total_time=600":
    # RUSTC_BOOTSTRAP: the flag is unstable, its runtime ships with stable. What is found goes to
    # `target/ci/fuzz/found`; what is worth keeping is copied into the corpus by hand.
    mkdir -p {{ checks }}/fuzz/found/{{ target }}
    RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR={{ checks }}/fuzz RUSTFLAGS="-Zsanitizer=address \
        -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
        -Ccodegen-units=1 -Cforce-frame-pointers" \
        cargo run --manifest-path core/fuzz/Cargo.toml --release --target {{ host }} \
        --bin {{ target }} -- {{ args }} {{ checks }}/fuzz/found/{{ target }} \
        core/fuzz/corpus/{{ target }}

# Run what CI runs
ci:
    .ci/run
