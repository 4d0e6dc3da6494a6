"""Where jobs run. An executor runs jobs and nothing else: it knows no study, no pruning, no scores."""
