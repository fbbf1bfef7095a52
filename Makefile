# make demo   the whole job on drawn landscapes: train CycleGAN and the Gram baseline, evaluate them side by side,
#             translate (about 8 minutes on 2 cores)
# make compare   all methods on the same drawn landscapes in one report (20 to 30 minutes); stopped, the same command
#             goes on
# make test   the tests
# make lint   ruff: lint and format check

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready

RUN    ?= runs/demo
DRAWN  ?= $(RUN)-drawn
OUT    ?= $(RUN)-translated
GRAM   ?= $(RUN)_johnson
REPORT ?= $(RUN)-report
COMPARE ?= runs/compare
# CycleGAN's network as in the paper; the demos' have skip connections and no transposed convolutions
PAPER  := method.generator.upsample=transposed method.generator.skips=false
# Settings that shorten the demo, for example DEMO="schedule.constant=20 schedule.decay=20"
DEMO   ?=


.PHONY: env demo compare test lint format clean

env: $(READY)

$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed; name it with make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $(READY)

demo: env
	$(PY) prepare.py synthetic $(DRAWN) --scenes 64 --part held_out
	$(PY) train.py configs/demo.yaml run=$(RUN) $(DEMO)
	$(PY) train.py configs/demo_johnson.yaml run=$(GRAM) $(DEMO)
	$(PY) translate.py $(RUN) $(DRAWN)/photographs $(OUT) --overwrite
	@$(PY) evaluate.py $(RUN) $(GRAM) --report $(REPORT) --without-pretrained
	@echo "pictures:   $(REPORT)/grid.png"
	@echo "translated: $(OUT)"

compare: env
	$(PY) train.py configs/demo.yaml run=$(COMPARE)/cyclegan_paper $(PAPER) $(DEMO)
	$(PY) train.py configs/demo.yaml run=$(COMPARE)/cyclegan $(DEMO)
	$(PY) train.py configs/demo_modern.yaml run=$(COMPARE)/modern $(DEMO)
	$(PY) train.py configs/demo_cut.yaml run=$(COMPARE)/cut $(DEMO)
	$(PY) train.py configs/demo_fastcut.yaml run=$(COMPARE)/fastcut $(DEMO)
	$(PY) train.py configs/demo_johnson.yaml run=$(COMPARE)/johnson $(DEMO)
	$(PY) train.py configs/demo_adain.yaml run=$(COMPARE)/adain $(DEMO)
	$(PY) evaluate.py $(foreach name,cyclegan_paper cyclegan modern cut fastcut johnson adain,$(COMPARE)/$(name)) configs/demo_gatys.yaml \
		--report $(COMPARE)/report --without-pretrained

test: env
	$(PY) -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

lint: env
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: env
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

clean:
	rm -rf $(VENV)
