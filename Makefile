# make run    the environment, the experiment, the pictures and the animation   (FLAGS="--seed 1" and so on)
# make explorer  the page to draw digits on, of the recipe "best"   (FLAGS="--recipe fast" and so on)
# make test   the environment, the linter and the whole test suite
# make golden  the recipe "fast" on the real files against the committed runs   (MNIST_DIR=FOLDER)
# make mutants  how many changes of one token the tests notice; the survivors are listed   (SAMPLE=300: of so many)
# make seeds  the runs behind the tables of docs/results.md
# make study  the paper's claims and the studies   (FLAGS="--study temperature" and so on)
# make cifar10  the convolutional teacher and its students on CIFAR-10   (FLAGS="--seed 1" and so on)
# make cifar10-seeds  the runs behind the tables of docs/cifar10.md, on the official files; on others with
#   FLAGS="--dataset auto --data-dir FOLDER"
# make cifar10-trials  those that chose the settings, on held-out training images
# make cifar10-gain  where distillation pays: sizes of student, shares of the images, lengths
# make bench  this project, PyTorch and plain NumPy, timed in turn
PYTHON ?= python3
BIN := .venv/bin
SEEDS ?= 0 1 2 3 4
MUTMUT := OPENBLAS_NUM_THREADS=1 $(BIN)/python -m mutmut
CIFAR10 := $(BIN)/python -m cifar10 --dataset cifar10
TENTH := --student-channels 28 M 28 36 M 36 36 M 36
FEW_LABELS := $(TENTH) --label-fraction 0.1 --n-epochs-teacher 4
TRIAL := $(TENTH) --hold-out 10000 --n-epochs-teacher 6 --n-epochs-student 4 --n-versions 2
GROWING := --hold-out 10000 --n-epochs-teacher 16 --sides 16 24 24 32
ALONE := --hold-out 10000 --student-channels 4 --n-epochs-student 1 --n-versions 1

.PHONY: run explorer test golden mutants seeds study cifar10 cifar10-seeds cifar10-trials \
  cifar10-gain bench clean

run: .venv/run.stamp
	$(BIN)/python distillation_mnist_omitted_3.py $(FLAGS)
	$(BIN)/python visualize_distillation_mnist_omitted_3.py $(FLAGS)
	$(BIN)/python make_distillation_mnist_omitted_3_gif.py $(FLAGS)

explorer: .venv/run.stamp
	$(BIN)/python make_distillation_mnist_omitted_3_explorer.py $(FLAGS)

test: .venv/dev.stamp  # processes that keep no bytecode compile everything anew, each of them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n 3 --dist worksteal

golden: $(if $(MNIST_DIR),.venv/dev.stamp)
	@test -n "$(MNIST_DIR)" || { echo "make golden: name the folder of the files: MNIST_DIR=FOLDER"; exit 2; }
	$(BIN)/python -m pytest tests/core/test_golden.py

mutants: .venv/dev.stamp  # a sample is drawn of all, which a first run, of one function, makes
	$(if $(SAMPLE),$(MUTMUT) run 'synthetic.exact.*')
	$(MUTMUT) run $(if $(SAMPLE),$$($(MUTMUT) results --all true | sed 's/:.*//' | shuf -n $(SAMPLE)))
	$(MUTMUT) results | grep -v 'not checked'
	$(MUTMUT) export-cicd-stats
	cat mutants/mutmut-cicd-stats.json

seeds: .venv/run.stamp
	set -e; run() { name=$$1; shift; $(BIN)/python distillation_mnist_omitted_3.py --dataset mnist --seed $$seed \
	    --outdir viz/seeds/$$name/$$seed "$$@"; }; \
	for seed in $(SEEDS); do \
	  run described; run linear --lr-schedule linear; run control --recipe fast --hard-weight 1; \
	  for recipe in fast middle best no-digit; do run $$recipe --recipe $$recipe; done; \
	done
	$(BIN)/python -m seeds.summarise viz/seeds/described viz/seeds/linear viz/seeds/fast viz/seeds/middle viz/seeds/best \
	  viz/seeds/no-digit --picture viz/frontier.png

study: .venv/run.stamp
	$(BIN)/python -m studies --dataset mnist $(FLAGS)

cifar10: .venv/run.stamp
	$(BIN)/python -m cifar10 $(FLAGS)
	$(BIN)/python -m cifar10.pictures $(FLAGS)

cifar10-seeds: .venv/run.stamp
	set -e; for seed in 0 1 2; do \
	  $(CIFAR10) --seed $$seed --outdir viz/cifar10/seeds/$$seed $(FLAGS); \
	  $(CIFAR10) --seed $$seed --outdir viz/cifar10/unlabelled/$$seed $(FEW_LABELS) $(FLAGS); \
	  $(CIFAR10) --seed $$seed --outdir viz/cifar10/labelled_tenth/$$seed $(FEW_LABELS) --transfer-fraction 0.1 \
	    $(FLAGS); \
	done
	set -e; for seed in 0 1 2 3; do $(CIFAR10) --seed $$seed --outdir viz/cifar10/tenth/$$seed $(TENTH) $(FLAGS); done
	set -e; for seed in 0 1 2 3 4; do \
	  $(CIFAR10) --seed $$seed --outdir viz/cifar10/unseen_cat/$$seed $(TENTH) --omitted-class cat $(FLAGS); \
	done
	$(BIN)/python -m seeds.summarise viz/cifar10/seeds viz/cifar10/tenth viz/cifar10/unseen_cat \
	  viz/cifar10/unlabelled viz/cifar10/labelled_tenth

cifar10-trials: .venv/run.stamp
	$(CIFAR10) $(TRIAL) --outdir viz/cifar10/trials/start $(FLAGS)
	$(CIFAR10) $(TRIAL) --outdir viz/cifar10/trials/rate-0.1 --learning-rate-student 0.1 $(FLAGS)
	$(CIFAR10) $(TRIAL) --outdir viz/cifar10/trials/rate-0.4 --learning-rate-student 0.4 $(FLAGS)
	$(CIFAR10) $(TRIAL) --outdir viz/cifar10/trials/jitter-2 --jitter-student 2 $(FLAGS)
	$(CIFAR10) $(TRIAL) --outdir viz/cifar10/trials/decay-0.0001 --weight-decay-student 0.0001 $(FLAGS)
	$(CIFAR10) $(TRIAL) --outdir viz/cifar10/trials/decay-0.0025 --weight-decay-student 0.0025 $(FLAGS)
	$(CIFAR10) $(TRIAL) --outdir viz/cifar10/trials/teacher-rate-0.1 --learning-rate 0.1 $(FLAGS)
	$(CIFAR10) $(TRIAL) --outdir viz/cifar10/trials/teacher-rate-0.4 --learning-rate 0.4 $(FLAGS)
	$(CIFAR10) $(TRIAL) --outdir viz/cifar10/trials/teacher-decay-0.0001 --weight-decay 0.0001 $(FLAGS)
	$(CIFAR10) $(TRIAL) --outdir viz/cifar10/trials/teacher-decay-0.0025 --weight-decay 0.0025 $(FLAGS)
	$(CIFAR10) $(TRIAL) --outdir viz/cifar10/trials/teacher-jitter-1 --jitter 1 $(FLAGS)
	$(CIFAR10) $(TRIAL) --outdir viz/cifar10/trials/constant --lr-schedule constant $(FLAGS)
	$(CIFAR10) $(TRIAL) --outdir viz/cifar10/trials/temperature-2 --temperature 2 $(FLAGS)
	$(CIFAR10) $(TRIAL) --outdir viz/cifar10/trials/temperature-16 --temperature 16 $(FLAGS)
	$(BIN)/python -m seeds.summarise --trials viz/cifar10/trials
	$(CIFAR10) $(GROWING) --sides-student 24 32 --outdir viz/cifar10/growing/start $(FLAGS)
	$(CIFAR10) $(GROWING) --outdir viz/cifar10/growing/whole $(FLAGS)
	$(CIFAR10) $(GROWING) --sides-student 24 32 --n-versions 2 --outdir viz/cifar10/growing/versions-2 $(FLAGS)
	$(BIN)/python -m seeds.summarise --trials viz/cifar10/growing
	$(CIFAR10) $(ALONE) --n-epochs-teacher 12 --sides 24 32 --outdir viz/cifar10/growing_teachers/start $(FLAGS)
	$(CIFAR10) $(ALONE) --n-epochs-teacher 10 --outdir viz/cifar10/growing_teachers/whole-10 $(FLAGS)
	$(CIFAR10) $(ALONE) --n-epochs-teacher 12 --sides 16 24 32 --outdir viz/cifar10/growing_teachers/16-24-32 $(FLAGS)
	$(CIFAR10) $(ALONE) --n-epochs-teacher 16 --sides 16 24 24 32 --outdir viz/cifar10/growing_teachers/16-24-24-32 \
	  $(FLAGS)
	$(BIN)/python -m seeds.summarise --trials viz/cifar10/growing_teachers

cifar10-gain: .venv/run.stamp
	$(BIN)/python -m cifar10.gain --dataset cifar10 --outdir viz/cifar10/gain_official $(FLAGS)

bench: .venv/bench.stamp
	$(BIN)/python benchmarks/compare.py --dataset mnist $(FLAGS)

clean:
	rm -rf .venv .pytest_cache .hypothesis .ruff_cache mutants __pycache__ */__pycache__ tests/*/__pycache__

.venv/created.stamp:
	$(PYTHON) -m venv .venv
	touch $@

.venv/run.stamp: requirements.txt .venv/created.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/dev.stamp: requirements.txt requirements-cluster.txt requirements-dev.txt .venv/created.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

.venv/bench.stamp: requirements.txt requirements-bench.txt .venv/created.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	touch $@
