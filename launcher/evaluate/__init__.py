"""The evaluator: a process of its own that scores checkpoints.

python -m launcher.evaluate RUN_ROOT

app           the command: arguments, environment, exit codes
follow        which checkpoint is scored next (pure, no TensorFlow)
ground_truth  the val records as COCO ground truth (no TensorFlow)
detector      a checkpoint's model over the val images (TensorFlow)
coco          COCO's 12 numbers and the AP of each category, by pycocotools or hotcoco
pictures      boxes drawn on val images (Pillow)
drawings      which of these stay
both_modes    the loss of the same images as in training and as in inference (TensorFlow)
scoring       one checkpoint from restore to written scores
"""
