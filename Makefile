# The two commands of the README are `make demo` and `make test`; each installs what is missing by itself.

# Without the server's sockets, whose packages would take longer to build than everything else; `make test-serve` tests
# those with the program itself.
SWIFT_TEST = swift test -c release -Xswiftc -enable-testing --scratch-path .build-test --traits GIF,TIFF,HEIF
# The same random numbers and the same order of sets and dictionaries in every run.
FIXED = env -u FASTVLM_TEST_SEED SWIFT_DETERMINISTIC_HASHING=1
PYTHON_ENVIRONMENT = .venv
PYTHON = $(PYTHON_ENVIRONMENT)/bin/python

.PHONY: demo test test-random test-pull test-serve test-tls c-interface test-c-interface wheel test-python test-machines evaluate-check soak test-training suite build setup format lint fixtures bench bench-library peers peer-models verify-full \
    verify-real verify-avx512 verify-neon sanitize docs clean

demo: build ## Build, then answer questions about the sample images with the embedded model
	@Tools/demo.sh

test: setup ## Build and run every test, the same in every run
	$(FIXED) $(SWIFT_TEST)

test-random: setup ## Run every test with other random numbers, before a release; SEED=<number> repeats a run
	@seed=$(or $(SEED),$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')); echo "seed $$seed"; \
	FASTVLM_TEST_SEED=$$seed $(SWIFT_TEST) && Tests/KernelCheck/run.sh $$seed \
	    || { echo "failed with seed $$seed; repeat with: make test-random SEED=$$seed" >&2; exit 1; }

# With the threshold that the program sets for itself (Start.swift).
soak: setup ## 10,000 requests of mixed kinds through one model, or THOUSANDS=<number>: what memory is held
	MALLOC_MMAP_THRESHOLD_=131072 FASTVLM_SOAK=$(or $(THOUSANDS),10) $(SWIFT_TEST) --filter SoakTests

build: setup ## Build the library and the command line in release mode
	swift build -c release

setup: ## Install missing Debian packages
	@Tools/setup.sh

format: ## Rewrite sources in the project's format
	swift format -i -p -r --configuration .swift-format Package.swift Sources Tests CInterface/Package.swift CInterface/Sources

# The compiler's own check of imports (--explicit-target-dependency-import-check) accepts what a dependency depends on.
lint: ## Fail on another format, on undeclared imports, and on tests with random numbers that no seed repeats
	swift format lint -s -p -r --configuration .swift-format Package.swift Sources Tests CInterface/Package.swift CInterface/Sources
	Tools/imports.py
	Tools/unseeded.sh

$(PYTHON): Tools/reference/requirements.txt
	python3 -m venv $(PYTHON_ENVIRONMENT)
	$(PYTHON) -m pip install -q -r Tools/reference/requirements.txt

fixtures: $(PYTHON) ## Make the committed fixtures anew (needs PyTorch; downloads it)
	$(PYTHON) -m pip download -q --no-deps -d downloads dashscope
	$(PYTHON) Tools/reference/image_fixtures.py
	@command -v avifenc >/dev/null || Tools/install.sh "avifenc (libavif-bin)" libavif-bin
	$(PYTHON) Tools/reference/format_fixtures.py
	$(PYTHON) Tools/reference/tokenizer_fixtures.py --wheel $$(ls downloads/dashscope-*.whl | tail -1)
	$(PYTHON) Tools/reference/tokenizer_families.py
	$(PYTHON) Tools/reference/tokenizer_templates.py
	$(PYTHON) Tools/reference/checkpoint_fixtures.py --output Tests/Fixtures/checkpoints
	$(PYTHON) Tools/reference/precedence_fixtures.py
	$(PYTHON) Tools/reference/model_fixtures.py
	$(PYTHON) Tools/reference/adapter_fixtures.py
	$(PYTHON) Tools/reference/onevision_fixtures.py
	$(PYTHON) Tools/reference/schema_fixtures.py
	$(PYTHON) Tools/reference/sentencepiece_fixtures.py
	$(PYTHON) Tools/reference/llava_fixtures.py

TRAINING_PYTHON = Training/.venv/bin/python

$(TRAINING_PYTHON): Training/requirements.txt
	Training/install-fonts.sh
	python3 -m venv Training/.venv
	$@ -m pip install -q -r Training/requirements.txt
	touch $@

test-training: $(TRAINING_PYTHON) ## Test the training code (downloads PyTorch; asks the built runtime if there is one)
	cd Training && OMP_NUM_THREADS=1 $(abspath $(TRAINING_PYTHON)) -m pytest -q -p no:cacheprovider tests

PULL_PYTHON = .venv-serve/bin/python

$(PULL_PYTHON): Tests/Serve/requirements.txt
	python3 -m venv .venv-serve
	$@ -m pip install -q -r Tests/Serve/requirements.txt
	touch $@

test-serve: build $(PULL_PYTHON) ## Test the server with official clients and two browsers (installs them); SOAK_MINUTES=10 for a long load
	@for each in chromium ffmpeg firefox-esr; do \
	    command -v $$each >/dev/null || missing="$$missing $$each"; done; [ -z "$$missing" ] \
	    || Tools/install.sh "Chromium, Firefox and ffmpeg" $$missing || echo "without$$missing the page is not tested"
	$(PULL_PYTHON) -m pytest -q -p no:cacheprovider -rs Tests/Serve/test_serve_*.py

test-tls: setup $(PULL_PYTHON) ## Build with the trait TLS (BoringSSL: minutes), and test the server with certificates
	swift build -c release --scratch-path .build-tls --traits TLS,GIF,TIFF,HEIF --product fastvlm
	FASTVLM_TLS=$(CURDIR)/.build-tls/release/fastvlm \
	    $(PULL_PYTHON) -m pytest -q -p no:cacheprovider -rs Tests/Serve/test_serve_tls.py

test-pull: build $(PULL_PYTHON) ## Test downloads beside the hub's own Python client, against a hub on this machine
	$(PULL_PYTHON) -m pytest -q -p no:cacheprovider Tests/Serve/test_pull.py

c-interface: setup ## Build libfastvlm.so, the library for other languages, which needs no Swift to run
	CInterface/build.sh

test-c-interface: c-interface ## Use the C interface from C, and misuse it
	CInterface/Tests/run.sh

WHEEL_ENVIRONMENT = .venv-python
WHEEL_PYTHON = $(WHEEL_ENVIRONMENT)/bin/python

$(WHEEL_PYTHON): Python/requirements.txt
	python3 -m venv $(WHEEL_ENVIRONMENT)
	$@ -m pip install -q -r Python/requirements.txt
	touch $@

wheel: c-interface $(WHEEL_PYTHON) ## Make Python/dist/fastvlm-….whl, and ask it a question where nothing else is installed
	Python/wheel.sh $(WHEEL_PYTHON)

test-python: wheel ## Test the Python package as its wheel installs it
	$(WHEEL_PYTHON) -m pip install -q --force-reinstall --no-index --no-deps Python/dist/*.whl
	cd Python && $(abspath $(WHEEL_PYTHON)) -m mypy src && $(abspath $(WHEEL_PYTHON)) -m pytest

MACHINES_ENVIRONMENT = .venv-machines
MACHINES_PYTHON = $(MACHINES_ENVIRONMENT)/bin/python
MACHINES_REQUIREMENTS = $(wildcard Python/examples/requirements-*.txt)

$(MACHINES_PYTHON): $(MACHINES_REQUIREMENTS)
	python3 -m venv $(MACHINES_ENVIRONMENT)
	$@ -m pip install -q $(MACHINES_REQUIREMENTS:%=-r %)
	touch $@

test-machines: build wheel $(MACHINES_PYTHON) ## Kill workers of Ray, Spark and shards in the middle: every answer once (1.2 GB; some minutes)
	@for each in java:default-jre-headless parallel:parallel; do \
	    command -v $${each%:*} >/dev/null || missing="$$missing $${each#*:}"; done; \
	[ -z "$$missing" ] || Tools/install.sh "Java and GNU parallel" $$missing
	$(MACHINES_PYTHON) -m pip install -q --force-reinstall --no-index --no-deps Python/dist/*.whl
	cd Python/examples/tests && $(abspath $(MACHINES_PYTHON)) -m pytest -q -p no:cacheprovider

EVALUATION_ENVIRONMENT = .venv-evaluate
EVALUATION_PYTHON = $(EVALUATION_ENVIRONMENT)/bin/python

# The images of the check are drawn with Training/synth and its typefaces. torchvision from PyPI ends every import of
# lmms-eval beside a torch for CPUs; nothing here needs it.
$(EVALUATION_PYTHON): Evaluation/requirements.txt Python/src/fastvlm/harness/requirements.txt
	Training/install-fonts.sh
	python3 -m venv $(EVALUATION_ENVIRONMENT)
	$@ -m pip install -q -r Evaluation/requirements.txt
	$@ -m pip uninstall -q --yes torchvision
	touch $@

evaluate-check: wheel $(EVALUATION_PYTHON) ## Check lmms-eval's scores of ten benchmarks on data of ours (installs 3 GB; 15 minutes)
	$(EVALUATION_PYTHON) -m pip install -q --force-reinstall --no-index --no-deps Python/dist/*.whl
	$(EVALUATION_PYTHON) Evaluation/check/check.py downloads/evaluation-check

suite: $(TRAINING_PYTHON) ## Draw the held-out suites of the embedded model, of 256 and 512 pixels, and check their checksums
	cd Training && $(abspath $(TRAINING_PYTHON)) -m synth.suite --out data/suite-256 --side 256
	cd Training && $(abspath $(TRAINING_PYTHON)) -m synth.suite --out data/suite-512 --side 512

FULL_CHECKPOINT = downloads/fastvlm-0.5b-random

$(FULL_CHECKPOINT)/expected.safetensors: $(PYTHON)
	$(PYTHON) -m pip download -q --no-deps -d downloads dashscope
	$(PYTHON) Tools/reference/full_checkpoint.py --expected

verify-full: setup $(FULL_CHECKPOINT)/expected.safetensors ## FastVLM-0.5B dimensions against transformers (7 GB of memory)
	FASTVLM_FULL_CHECKPOINT=$(CURDIR)/$(FULL_CHECKPOINT) $(SWIFT_TEST) --filter FullWidthTests

verify-real: build peers ## Every precision on real language weights, beside llama.cpp (an hour; 10 GB of memory)
	$(PEERS_PYTHON) Evaluation/verify_real.py

bench: build peer-models ## Ours beside the peers, in turns, on this machine (an hour); fails below a floor
	$(PEERS_PYTHON) Benchmarks/compare.py --table downloads/bench/table.md

bench-library: setup ## Loading, first tokens and tokenizing through the library, under a benchmark package
	swift package --package-path Benchmarks benchmark

verify-avx512: ## Check the AVX-512, AVX-VNNI and AMX kernels through an emulation (libsimde-dev)
	@[ -e /usr/include/simde ] || apt-get install -y -qq libsimde-dev
	SIMDE=1 Tests/KernelCheck/run.sh $(SEED)

verify-neon: ## Check the NEON kernels, cross-compiled and run by qemu as three processors (four minutes)
	@Tools/setup-aarch64.sh
	NEON=1 Tests/KernelCheck/run.sh $(SEED)

sanitize: setup ## Run the tests under the address sanitizer (builds for about ten minutes)
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	    $(SWIFT_TEST:.build-test=.build-sanitize) --sanitize=address

PEERS_ENVIRONMENT = .venv-peers
PEERS_PYTHON = $(PEERS_ENVIRONMENT)/bin/python

# llama.cpp's AMX kernels end the process (an illegal instruction, 0.3.36 under gcc 12), so it goes without.
LLAMA_ARGUMENTS = $(if $(shell grep -m1 -o amx_tile /proc/cpuinfo),-DGGML_NATIVE=OFF $(patsubst %,-DGGML_%=ON, \
    AVX AVX2 FMA F16C BMI2 AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16))

$(PEERS_ENVIRONMENT)/installed: Benchmarks/peers/requirements.txt Benchmarks/peers/requirements-llama.txt \
    Tools/reference/requirements.txt
	python3 -m venv $(PEERS_ENVIRONMENT)
	$(PEERS_PYTHON) -m pip install -q -r Benchmarks/peers/requirements.txt
	CMAKE_ARGS="$(LLAMA_ARGUMENTS)" $(PEERS_PYTHON) -m pip install -q -r Benchmarks/peers/requirements-llama.txt \
	    || echo "llama-cpp-python could not be built: that peer will be skipped"
	touch $@

peers: $(PEERS_ENVIRONMENT)/installed ## Install the programs we compare with (several GB)

$(FULL_CHECKPOINT)/model.safetensors: | $(PEERS_ENVIRONMENT)/installed
	$(PEERS_PYTHON) -m pip download -q --no-deps -d downloads dashscope
	$(PEERS_PYTHON) Tools/reference/full_checkpoint.py $(FULL_CHECKPOINT)

peer-models: peers $(FULL_CHECKPOINT)/model.safetensors ## Make the model files of the peers from the random checkpoint
	$(PEERS_PYTHON) Benchmarks/peers/make_models.py --checkpoint $(FULL_CHECKPOINT)

docs: setup ## Compile the examples of the documentation, then build it; a warning is an error
	swift build --scratch-path .build-docs --target FastVLMEmbedded
	Tools/doc_examples.py .build-docs/debug
	FASTVLM_DOCS=1 swift package --scratch-path .build-docs generate-documentation --target FastVLM --warnings-as-errors

clean:
	rm -rf .build .build-test .build-sanitize .build-docs .build-tls CInterface/.build Python/dist
