"""Two short runs that tell bad data from bad training: `launcher overfit` and `launcher baseline`.

Both are what the answers to tensorflow/models#10530 advised. Each makes a spec of its own from the
user's, with the same model, and submits it as an ordinary run; what is new is its verdict.

derive     the spec and the pipeline.config of such a run
images     a few images of the train set, as a set of their own
overfit    can the model learn them by heart?
baseline   does a trained checkpoint score on this val set, and keep its mAP on this train set?
verdict    the answer: one line, and what to look at next
"""
