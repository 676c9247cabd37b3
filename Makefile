# The chain, in dependency order:
#
#   data -> classifier ------------------------.--------------------.
#      |--> rnn_ae                             |                    |
#      |--> conv_ae                            |                    |
#      |--> rnn_vae -> conv_vae -> metrics of both VAEs -> cvae -> metrics of all -> report.pdf
#      `--> mlp_numpy -> mlp_torch,  embed_numpy -> embed_torch          (make scratch; not in make all)
#
#   digits -> dense_ae -> selu_conv_ae,  text_rnn,  text_cnn                                (make sequences)
#
#   cvae -> color, the painted drawings -> their judge -> gan, ddpm -> the table in colour    (make colour)
#                                       classifier -> gan_grey, ddpm_grey -> the core's table   (make grey)
#
# A script's target is OUT/<script>/metrics.json, which it writes last: the file exists when the run
# came to its end, so an interrupted one starts again, and a finished one is left alone until the
# script, common.py or the data changes. Works with GNU make 3.81 and later.

DATA   ?= data/quickdraw_subset_np
SEED   ?= 0
DEVICE ?= auto
# another seed is another result: it gets a folder of its own
OUT    ?= out$(if $(filter-out 0,$(SEED)),_seed$(SEED))
# flags for the scripts that are named on make's command line: make conv_vae FLAGS="--latent-dim 16"
FLAGS  ?=
# a file of word vectors in GloVe's text format, for embed_numpy; without it, vectors of the spelling
GLOVE  ?=
# on the report's cover; and the folders of other seeds, for spreads
AUTHOR ?=
STUDENT_ID ?=
CODE_LINK ?=
SEEDS  ?=
# a folder with MNIST's idx files, for dense_ae and selu_conv_ae; where there is none, more/digits.py puts one there
MNIST  ?= data/mnist
# a folder with rt-polarity.pos and rt-polarity.neg, for the text classifiers; without it, sentences of a small grammar
TEXT   ?=

# Without PY= the Makefile sets up .venv and uses its Python; with it, nothing is installed.
ifeq ($(origin PY),undefined)
PY     := .venv/bin/python
VENV   := .venv/ready
TOOLS  := .venv/tools
BOOK   := .venv/book
endif

SCRIPTS    := classifier rnn_ae conv_ae rnn_vae conv_vae cvae
TARGETS    := $(foreach s,$(SCRIPTS),$(OUT)/$(s)/metrics.json)
SCRATCH    := mlp_numpy mlp_torch embed_numpy embed_torch
PAINTED    := restore_ae beta_vae cvae_color gan cgan ddpm cddpm inpaint
DIGITS     := dense_ae selu_conv_ae
TEXTS      := text_rnn text_cnn
GREY       := $(addsuffix _grey,$(PAINTED))
MORE       := $(foreach s,$(SCRATCH) color $(PAINTED) $(GREY) $(DIGITS) $(TEXTS),$(OUT)/$(s)/metrics.json)
# the same two autoencoders on the drawings, beside those on MNIST
DRAWN      := $(foreach s,$(DIGITS),$(OUT)/drawings/$(s)/metrics.json)
COLOR_JUDGE := $(OUT)/color/classifier/metrics.json
COLOR_TABLE := $(OUT)/metrics/color.json
VAE_TABLE  := $(OUT)/metrics/vaes.json
TABLE      := $(OUT)/metrics/metrics.json
REPORT     := $(OUT)/report.pdf
ABLATIONS  := $(OUT)/ablations/metrics.json
DATA_FILES := $(foreach s,train test,$(DATA)/$(s)_images.npy $(DATA)/$(s)_labels.npy)
DATA_READY := $(OUT)/data.txt
QUICK      ?=
ARGUMENTS   = --data $(DATA) --out $(OUT) --seed $(SEED) $(QUICK) $(if $(filter $(1) $(1)_grey all,$(MAKECMDGOALS)),$(FLAGS))
RUN         = $(PY) $(1).py $(ARGUMENTS) --device $(DEVICE)
RUN_MORE    = $(PY) -m more.$(1) $(ARGUMENTS) $(if $(findstring numpy,$(1)),,--device $(DEVICE))
RUN_REPORT  = $(PY) -m report.$(1) $(ARGUMENTS) --device $(DEVICE)

.PHONY: help all report book ablations scratch colour grey sequences data quick test lint check clean metrics setup FORCE
.PHONY: $(SCRIPTS) $(SCRATCH) color $(PAINTED) $(GREY) $(DIGITS) $(TEXTS)
.DELETE_ON_ERROR:

help:
	@echo "make all       set up, get the data, train and score everything: pictures and figures in OUT, and OUT/report.pdf"
	@echo "make quick     the same on little data, in a few minutes, into out_quick: does it all run?"
	@echo "make SCRIPT    one of: $(SCRIPTS) metrics (and what it needs)"
	@echo "make scratch   classification from scratch: $(SCRATCH) (each a target, too)"
	@echo "make colour    generative models of painted drawings: $(PAINTED) (each a target, too), and their table"
	@echo "make grey      the same models on grey drawings: $(GREY), and the core's table with them"
	@echo "make sequences autoencoders of MNIST's digits and the drawings, classifiers of sentences: $(DIGITS) $(TEXTS) (each a target, too)"
	@echo "make report    OUT/report.pdf again, from what has been measured: AUTHOR= STUDENT_ID= CODE_LINK=, and SEEDS='out_seed1 out_seed2' for spreads"
	@echo "make ablations what each choice brings (latent size, likelihood, beta, width ...): tables and plots, three seeds each; half an hour. Then make report shows them"
	@echo "make book      OUT/book/index.html: the sources as a site to read, with the pictures of the runs that are in OUT"
	@echo "make data      put the four .npy files into DATA"
	@echo "make check     compare OUT with the bands in README.md"
	@echo "make test      lint and tests;   make lint   ruff alone"
	@echo "make clean     delete OUT and out_quick (not the data, not .venv)"
	@echo "variables      DATA=$(DATA) OUT=$(OUT) SEED=$(SEED) DEVICE=$(DEVICE) FLAGS=$(FLAGS) GLOVE=$(GLOVE) MNIST=$(MNIST) TEXT=$(TEXT) PY=$(PY)"

all: $(TARGETS) $(TABLE) $(REPORT)

report: $(REPORT)

# Asked for by name it is always built anew: AUTHOR and the rest are no files whose age make could see. Where the ablations
# are asked for, too, they come first: else it could read half of their tables.
$(REPORT): $(TARGETS) $(TABLE) $(wildcard report/*.py) $(if $(filter report,$(MAKECMDGOALS)),FORCE) $(if $(filter ablations,$(MAKECMDGOALS)),$(ABLATIONS))
	$(PY) -m report.build --out $(OUT) --author "$(AUTHOR)" --student-id "$(STUDENT_ID)" --code-link "$(CODE_LINK)" $(if $(SEEDS),--seeds $(SEEDS))

# trains nothing: it shows what is there
book: | $(BOOK)
	@mkdir -p $(OUT)
	$(PY) -m book.build --out $(OUT)

scratch: $(foreach s,$(SCRATCH),$(OUT)/$(s)/metrics.json)

# the longest first: with -j2 none is then left to run alone at the end
LONGEST    := cddpm ddpm cgan gan beta_vae

colour: $(foreach s,$(LONGEST) $(PAINTED),$(OUT)/$(s)/metrics.json) $(COLOR_TABLE)

grey: $(foreach s,$(addsuffix _grey,$(LONGEST)) $(GREY),$(OUT)/$(s)/metrics.json) $(TARGETS)
	$(call RUN,metrics)

sequences: $(foreach s,$(DIGITS) $(TEXTS),$(OUT)/$(s)/metrics.json) $(DRAWN)

# ---- setting up ----

setup: $(VENV)

.venv/ready: requirements.txt
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet -r requirements.txt
	@touch $@

.venv/book: .venv/ready book/requirements.txt
	.venv/bin/python -m pip install --quiet -r book/requirements.txt
	@touch $@

.venv/tools: .venv/book tests/requirements.txt
	.venv/bin/python -m pip install --quiet -r tests/requirements.txt
	@touch $@

# ---- data ----

# OUT remembers which DATA its results came from; another folder, or a missing file, makes it stale.
ifneq ($(shell cat $(DATA_READY) 2>/dev/null) $(words $(wildcard $(DATA_FILES))),$(DATA) 4)
$(DATA_READY): FORCE
endif

$(DATA_READY): $(wildcard $(DATA_FILES)) | $(VENV)
	$(PY) data/quickdraw.py --data $(DATA)
	@mkdir -p $(OUT) && echo "$(DATA)" > $@

data: $(DATA_READY)

# ---- models ----

# Every script reads common.py; it and the data are prerequisites of all.
$(TARGETS) $(VAE_TABLE) $(TABLE) $(MORE) $(DRAWN) $(COLOR_JUDGE) $(COLOR_TABLE): common.py | $(VENV)
# and the drawings, but for the files on digits and on sentences
$(filter-out $(foreach s,$(DIGITS) $(TEXTS),$(OUT)/$(s)/metrics.json),$(TARGETS) $(VAE_TABLE) $(TABLE) $(MORE) $(DRAWN) $(COLOR_JUDGE) $(COLOR_TABLE)): \
	$(DATA_READY)

$(OUT)/classifier/metrics.json: classifier.py
	$(call RUN,classifier)

$(OUT)/rnn_ae/metrics.json: rnn_ae.py
	$(call RUN,rnn_ae)

$(OUT)/conv_ae/metrics.json: conv_ae.py
	$(call RUN,conv_ae)

$(OUT)/rnn_vae/metrics.json: rnn_vae.py
	$(call RUN,rnn_vae)

# draws its convergence over rnn_vae's
$(OUT)/conv_vae/metrics.json: conv_vae.py $(OUT)/rnn_vae/metrics.json
	$(call RUN,conv_vae)

# which of the two is better decides what cvae.py builds on
$(VAE_TABLE): metrics.py classifier.py $(foreach s,classifier rnn_vae conv_vae,$(OUT)/$(s)/metrics.json)
	$(call RUN,metrics) --only rnn_vae,conv_vae --table vaes

$(OUT)/cvae/metrics.json: cvae.py classifier.py $(VAE_TABLE)
	$(call RUN,cvae)

$(TABLE): metrics.py classifier.py $(TARGETS) $(VAE_TABLE)
	$(call RUN,metrics)

# ---- more: classification from scratch ----

$(foreach s,$(SCRATCH),$(OUT)/$(s)/metrics.json): more/charts.py

$(OUT)/mlp_numpy/metrics.json: more/mlp_numpy.py
	$(call RUN_MORE,mlp_numpy)

# starts from the weights that mlp_numpy started from
$(OUT)/mlp_torch/metrics.json: more/mlp_torch.py more/twins.py $(OUT)/mlp_numpy/metrics.json
	$(call RUN_MORE,mlp_torch)

$(OUT)/embed_numpy/metrics.json: more/embed_numpy.py more/words.py
	$(call RUN_MORE,embed_numpy) $(if $(GLOVE),--glove $(GLOVE))

$(OUT)/embed_torch/metrics.json: more/embed_torch.py more/twins.py $(OUT)/embed_numpy/metrics.json
	$(call RUN_MORE,embed_torch)

# ---- more: in colour ----

# paints the core's samples, too, so that these stand in the same table
$(OUT)/color/metrics.json: more/color.py $(OUT)/conv_vae/metrics.json $(OUT)/cvae/metrics.json
	$(call RUN_MORE,color)

# the set that color.py wrote is DATA, for this judge and for the table
$(COLOR_JUDGE): classifier.py $(OUT)/color/metrics.json
	$(PY) classifier.py --data $(OUT)/color --out $(OUT)/color --seed $(SEED) $(QUICK) --device $(DEVICE)

# the long ones go on, after an interruption, where they last saved themselves
RESUME      = $(if $(filter beta_vae gan cgan ddpm cddpm,$(1)),--resume)

PARTS       = more/color.py more/score.py more/charts.py more/sweep.py more/checkpoint.py

$(foreach s,$(PAINTED),$(OUT)/$(s)/metrics.json): $(OUT)/%/metrics.json: more/%.py $(PARTS) $(COLOR_JUDGE)
	$(call RUN_MORE,$*) $(call RESUME,$*)

$(foreach s,$(GREY),$(OUT)/$(s)/metrics.json): $(OUT)/%_grey/metrics.json: more/%.py $(PARTS) $(OUT)/classifier/metrics.json
	$(call RUN_MORE,$*) --grey $(call RESUME,$*)

# has no model of its own
$(OUT)/inpaint/metrics.json $(OUT)/inpaint_grey/metrics.json: more/ddpm.py
$(OUT)/inpaint/metrics.json: $(OUT)/ddpm/metrics.json
$(OUT)/inpaint_grey/metrics.json: $(OUT)/ddpm_grey/metrics.json

$(COLOR_TABLE): metrics.py $(foreach s,$(PAINTED),$(OUT)/$(s)/metrics.json)
	$(PY) metrics.py --data $(OUT)/color --out $(OUT) --judges $(OUT)/color --table color --seed $(SEED) $(QUICK) --device $(DEVICE)

# ---- more: digits and sentences ----

# flags of these scripts, but for --data
ELSEWHERE   = --seed $(SEED) $(QUICK) $(if $(filter $(1) all,$(MAKECMDGOALS)),$(FLAGS)) --device $(DEVICE)

# as with the drawings: OUT remembers which digits its results came from
ifneq ($(shell cat $(OUT)/mnist.txt 2>/dev/null),$(MNIST))
$(OUT)/mnist.txt: FORCE
endif

$(OUT)/mnist.txt: | $(VENV)
	$(PY) -m more.digits --data $(MNIST)
	@mkdir -p $(OUT) && echo "$(MNIST)" > $@

$(foreach s,$(DIGITS),$(OUT)/$(s)/metrics.json): $(OUT)/%/metrics.json: more/%.py more/digits.py more/color.py more/charts.py $(OUT)/mnist.txt
	$(PY) -m more.$* --data $(MNIST) --out $(OUT) $(call ELSEWHERE,$*)

# few drawings: they are moved and mirrored, which digits must not be
$(DRAWN): $(OUT)/drawings/%/metrics.json: more/%.py more/digits.py more/color.py more/charts.py
	$(PY) -m more.$* --data $(DATA) --out $(OUT)/drawings --shift 2 --mirror 0.5 $(if $(filter dense_ae,$*),--steps 8000) $(call ELSEWHERE,$*)

# compares with the dense net's reconstructions
$(OUT)/selu_conv_ae/metrics.json: $(OUT)/dense_ae/metrics.json
$(OUT)/drawings/selu_conv_ae/metrics.json: $(OUT)/drawings/dense_ae/metrics.json

$(foreach s,$(TEXTS),$(OUT)/$(s)/metrics.json): $(OUT)/%/metrics.json: more/%.py more/sentences.py more/charts.py
	$(PY) -m more.$* --data "$(TEXT)" --out $(OUT) $(call ELSEWHERE,$*)

# ---- what each choice brings ----

ablations: $(ABLATIONS)

# Not part of all. Asked for by name it always runs, for what is there may be one group's tables (FLAGS="--only beta"); that takes
# seconds where all is done: a run that is there and still fits is not done again, and so an interrupted one goes on where it was.
$(ABLATIONS): report/ablations.py report/trials.py conv_ae.py rnn_vae.py conv_vae.py classifier.py metrics.py more/score.py common.py \
	$(DATA_READY) $(OUT)/classifier/metrics.json $(if $(filter ablations,$(MAKECMDGOALS)),FORCE) | $(VENV)
	$(call RUN_REPORT,ablations)

# ---- one script ----

# make conv_vae: the file above; with FLAGS it always runs, because other flags are another result
$(SCRIPTS) $(SCRATCH) color $(PAINTED) $(GREY) $(DIGITS) $(TEXTS): %: $(OUT)/%/metrics.json
metrics: $(TABLE)
ifneq ($(FLAGS),)
$(foreach s,$(filter $(SCRIPTS) $(SCRATCH) color $(PAINTED) $(GREY) $(DIGITS) $(TEXTS),$(MAKECMDGOALS)),$(OUT)/$(s)/metrics.json) $(if $(filter metrics,$(MAKECMDGOALS)),$(TABLE)): FORCE
endif
FORCE:

# ---- checking ----

quick:
	$(MAKE) all OUT=out_quick QUICK=--quick DATA=$(DATA) SEED=$(SEED) DEVICE=$(DEVICE)

lint: $(TOOLS)
	$(PY) -m ruff check --config tests/ruff.toml .

test: lint
# two processes with a thread each: half the time of one process with two threads
	OMP_NUM_THREADS=1 $(PY) -m pytest -c tests/pytest.ini --rootdir . -n 2 --dist loadfile --no-loadscope-reorder tests

check: $(VENV)
	$(PY) tests/check.py --out $(OUT)

clean:
	rm -rf $(OUT) out_quick
