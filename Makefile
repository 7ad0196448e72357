.PHONY: help run test lint clients bench compare
help:    ## this list
	@sed -nE 's/^([a-z]+): *(.*)## (.*)/make \1\t\3/p' $(MAKEFILE_LIST) | expand -t 16
run:     ## build for use, and run a broker without configuration: 127.0.0.1:9092 and up, data in ./klamm-data
	cargo run --release --bin klamm -- server
test: lint clients ## everything that must be green: lint, unit tests, simulation, the binary, the clients
	cargo test
lint:    ## formatting, clippy and documentation without a warning
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
clients: ## install the clients that the tests use: kcat, Java and Maven (apt-get), kafka-python, kafka-clients
	tests/compat/install.sh $(or $(CARGO_TARGET_DIR),target)/clients
bench:   ## criterion: make bench, or make bench B=batch
	cargo bench $(if $(B),--bench $(B))
compare: ## Klamm beside Apache Kafka (Java, Maven); QUICK=1, or W=w1-2k,w9 ROUNDS=2 SECONDS=10 PEER=peer.toml KAFKA=0
	@cargo build --quiet --release --bin klamm --bin klamm-compare
	@cargo run --quiet --release --bin klamm-compare -- $(if $(QUICK),--quick) $(if $(W),--workloads $(W)) \
	    $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(PEER),--peer $(PEER)) \
	    $(if $(filter 0,$(KAFKA)),--no-kafka) --floor $(or $(FLOOR),../shared/floor)
