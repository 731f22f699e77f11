# The two commands of the README are `make demo` and `make test`; each installs what is missing by itself.

SWIFT_TEST = swift test -c release -Xswiftc -enable-testing --scratch-path .build-test
PYTHON_ENVIRONMENT = .venv
PYTHON = $(PYTHON_ENVIRONMENT)/bin/python

.PHONY: demo test build setup format lint fixtures bench verify-full sanitize clean

demo: build ## Build, then answer questions about the sample images with the embedded model
	@Tools/demo.sh

test: setup ## Build and run every test
	$(SWIFT_TEST)

build: setup ## Build the library and the command line in release mode
	swift build -c release

setup: ## Install missing Debian packages
	@Tools/setup.sh

format: ## Rewrite sources in the project's format
	swift format -i -p -r --configuration .swift-format Package.swift Sources Tests

lint: ## Fail when a source is not in the project's format
	swift format lint -s -p -r --configuration .swift-format Package.swift Sources Tests

$(PYTHON): Tools/reference/requirements.txt
	python3 -m venv $(PYTHON_ENVIRONMENT)
	$(PYTHON) -m pip install -q -r Tools/reference/requirements.txt

fixtures: $(PYTHON) ## Make the committed fixtures anew (needs PyTorch; downloads it)
	for generator in image tokenizer checkpoint model; do \
	    test ! -f Tools/reference/$${generator}_fixtures.py || \
	    $(PYTHON) Tools/reference/$${generator}_fixtures.py || exit 1; done

sanitize: setup ## Run the tests under the address sanitizer
	swift test -c debug --sanitize=address --scratch-path .build-sanitize

clean:
	rm -rf .build .build-test .build-sanitize
