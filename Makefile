.PHONY: help run test lint clients suites bench bench-check bench-baseline compare profile faults golden hostile fuzz
help:    ## this list
	@sed -nE 's/^([a-z-]+): *(.*)## (.*)/make \1\t\3/p' $(MAKEFILE_LIST) | expand -t 16
run:     ## build for use, and run a broker without configuration: 127.0.0.1:9092 and up, data in ./klamm-data
	cargo run --release --bin klamm -- server
test: lint clients ## everything that must be green: lint, unit tests, simulation, the binary, the clients
	cargo test
lint:    ## formatting, clippy and documentation without a warning
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
clients: ## install the clients that the tests use, and the suites that come with them
	tests/compat/install.sh $(or $(CARGO_TARGET_DIR),target)/clients
suites:  clients ## the test suites of librdkafka and the rdkafka crate, whole
	cargo test --test compat -- --ignored --test-threads=1 listed
faults:  ## the long form of the faults: 200 kills, 50 power cuts, 10 GiB to start with (needs root, mkfs.xfs)
	ROUNDS=200 cargo test --test faults -- --nocapture --test-threads=1
	cargo test --release --test faults -- --ignored --nocapture
bench:   ## criterion: make bench, or make bench B=batch
	cargo bench $(if $(B),--bench $(B))
compare: ## Klamm beside Apache Kafka (Java, Maven); QUICK=1, or W=w1-2k,w9 ROUNDS=2 SECONDS=8 PEER=peer.toml KAFKA=0 CLIENT=librdkafka
	@cargo build --quiet --release --bin klamm --bin klamm-compare $(if $(CLIENT),--features $(CLIENT))
	@cargo run --quiet --release --bin klamm-compare $(if $(CLIENT),--features $(CLIENT)) -- $(if $(QUICK),--quick) $(if $(W),--workloads $(W)) \
	    $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(PEER),--peer $(PEER)) \
	    $(if $(CLIENT),--client $(CLIENT)) \
	    $(if $(filter 0,$(KAFKA)),--no-kafka) --floor $(or $(FLOOR),../shared/floor)
profile: ## where the CPU goes, as a flame graph (needs perf): make profile W=w1-2k SYNC=0 SECONDS=5
	@cargo build --quiet --release --bin klamm --bin klamm-compare
	@cargo run --quiet --release --bin klamm-compare -- --out target/profile --profile $(or $(W),w1-2k) \
	    $(if $(filter 0,$(SYNC)),--unsynced) $(if $(SECONDS),--seconds $(SECONDS))
bench-check: clients ## instructions of the hot path against bench/instructions-*.tsv: 3 % more fails
	cargo bench --bench instructions
bench-baseline: clients ## writes these counts anew, when more is meant or the compiler is another
	cargo bench --bench instructions -- --save
golden:  ## ask a real Apache Kafka (../shared/oracle) again, and write its answers into tests/golden
	cargo test --test golden -- --ignored --nocapture record
hostile: ## hostile clients, and what they do to the latency of another (release build)
	HOSTILE_COMPARES=1 cargo test --release --test hostile
fuzz:    ## damaged input for every decoder, handler and file reader, without end
	while FUZZ_CASES=100000 cargo test --lib --bin klamm fuzz; do :; done
