"""Mutations of the checks: each breaks one of them, and a test must fail for it.

`test_mutations.py` says how they are run. A new limit or condition of a check gets a line here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """`old` stands once in launcher/preflight/`file`; with `new` in its place `test`, of
    tests/preflight, must fail. `check` is the name of its findings, or what they have in common."""

    check: str
    file: str
    old: str
    new: str
    test: str

    def __str__(self) -> str:
        return f"{self.check}: {self.file}: {self.old.strip()!r} -> {self.new.strip()!r}"


SHARDS, COUNT = "data-shards", "data-count"

MUTATIONS = (
    # data-shards
    Mutation(
        SHARDS, "shards.py", "SERIOUS_SHARE = 0.1\n", "SERIOUS_SHARE = 0.25\n",
        "test_data_limits.py::test_a_tenth_of_the_files_gone_is_a_copy_cut_short",
    ),
    Mutation(
        SHARDS, "shards.py", 'share >= SERIOUS_SHARE or split.key == "data.val"',
        "share >= SERIOUS_SHARE",
        "test_data_limits.py::test_any_file_gone_from_val_makes_another_score",
    ),
    Mutation(
        SHARDS, "shards.py", " or split.expected == split.count:", ":",
        "test_data_limits.py::test_files_that_nobody_expects_are_not_missed",
    ),
    Mutation(
        SHARDS, "shards.py", "serious = bool(one.total) and ", "serious = not one.total and ",
        "test_data_shards.py::test_one_shard_of_many",
    ),
    Mutation(
        SHARDS, "shard_sets.py", "first in (0, 1)", "first in (0,)",
        "test_data_limits.py::test_numbers_in_a_row_are_a_set",
    ),
    Mutation(
        SHARDS, "shard_sets.py", "first in (0, 1) and ", "",
        "test_data_limits.py::test_numbers_in_a_row_are_a_set",
    ),
    Mutation(
        SHARDS, "shard_sets.py", "last - first + 1 == len(self.beside) >=", "len(self.beside) >=",
        "test_data_limits.py::test_numbers_in_a_row_are_a_set",
    ),
    # data-count
    Mutation(
        COUNT, "counts.py", "UNEVEN = 10\n", "UNEVEN = 3\n",
        "test_data_limits.py::test_files_may_differ_up_to_ten_times",
    ),
    Mutation(
        COUNT, "counts.py", "ALIKE = 1.2\n", "ALIKE = 100\n",
        "test_data_limits.py::test_a_short_file_among_equal_ones_was_cut",
    ),
    Mutation(
        COUNT, "counts.py", " and len(cut) <= max(1, len(counts) // 10)", "",
        "test_data_limits.py::test_a_short_file_among_equal_ones_was_cut",
    ),
    Mutation(
        COUNT, "counts.py", "SLIGHT_SHARE = 0.02\n", "SLIGHT_SHARE = 0.0\n",
        "test_data_count.py::test_images_without_an_object_may_be_left_out",
    ),
    # global-batch
    Mutation(
        "global-batch", "batch.py", "FAILED = Fraction(1, 8)", "FAILED = Fraction(1, 16)",
        "test_batch_checks.py::test_what_others_reached_at_a_batch_decides",
    ),
    Mutation(
        "global-batch", "batch.py", "scale <= REACHED or scale > LINEAR_RULE_HOLDS",
        "scale <= REACHED",
        "test_batch_checks.py::test_more_than_32_times_the_batch_is_far_from_what_was_shown",
    ),
    # batch-norm
    Mutation(
        "batch-norm", "normalization.py", "_NOISE = 2\n", "_NOISE = 1\n",
        "test_norm_checks.py::test_two_images_as_batch_norm_are_noise",
    ),
    Mutation(
        "batch-norm", "normalization.py", "norm.too_few or _moves_over_one(subject)",
        "norm.too_few", "test_norm_checks.py::test_moving_over_one_micro_batch_is_batch_norm",
    ),
    # learning-rate
    Mutation(
        "learning-rate", "rates.py", "_CLOSE = 1.1\n", "_CLOSE = 1.5\n",
        "test_batch_checks.py::test_too_high_and_too_low",
    ),
    Mutation(
        "learning-rate", "rates.py", "_WASTED_HIGH = 4.0", "_WASTED_HIGH = 5.0",
        "test_batch_checks.py::test_too_high_and_too_low",
    ),
    Mutation(
        "learning-rate", "rates.py", ', "constant": "learning_rate"', "",
        "test_configuration_limits.py::test_a_rate_is_named_as_its_schedule_calls_it",
    ),
    # image-budget
    Mutation(
        "image-budget", "budget.py", "_PLENTY = Fraction(3, 2)", "_PLENTY = Fraction(19, 10)",
        "test_configuration_limits.py"
        "::test_a_budget_is_the_recipe_s_from_nine_tenths_to_one_and_a_half",
    ),
    Mutation(
        "image-budget", "budget.py", "_ENOUGH = Fraction(9, 10)", "_ENOUGH = Fraction(8, 10)",
        "test_configuration_limits.py"
        "::test_a_budget_is_the_recipe_s_from_nine_tenths_to_one_and_a_half",
    ),
    Mutation(
        "image-budget", "budget.py", "left = rate_at(", "left = 7 * rate_at(",
        "test_configuration_limits.py"
        "::test_the_rate_at_the_end_of_a_training_that_stops_early",
    ),
    Mutation(
        "image-budget", "run.py",
        "        *budget.epochs(subject, data.train.images if data else None),\n", "",
        "test_whole_check.py::test_the_counted_images_are_held_against_the_budget",
    ),
    # schedule
    Mutation(
        "schedule", "schedule.py", "if change >= steps]", "if change > steps]",
        "test_configuration_limits.py::test_a_boundary_at_the_last_step_is_past_the_end",
    ),
    Mutation(
        "schedule", "schedule.py", ', "exponential_decay": "burnin_steps"', "",
        "test_configuration_limits.py::test_so_is_a_warm_up",
    ),
    Mutation(
        "schedule", "schedule.py", "own.warmup_steps * 2 > steps", "own.warmup_steps > steps",
        "test_batch_checks.py::test_a_warm_up_longer_than_the_training",
    ),
    # labels
    Mutation(
        "labels", "labels.py", "MANY_ABSENT = 0.5\n", "MANY_ABSENT = 0.3\n",
        "test_data_limits.py::test_half_of_the_map_unused_is_another_set_s",
    ),
    Mutation(
        "labels", "labels.py", " & (c.label > 0)", "",
        "test_data_limits.py::test_a_name_that_the_map_lacks_is_no_disagreement",
    ),
    Mutation(
        "labels", "labels.py", "(contents.own_label < 1) | ", "",
        "test_data_labels.py::test_classes_numbered_from_zero",
    ),
    # boxes
    Mutation(
        "boxes", "boxes.py", "MOST_OF_THEM = 0.65\n", "MOST_OF_THEM = 0.45\n",
        "test_data_limits.py::test_a_published_recipe_s_share_without_an_anchor_is_a_note",
    ),
    Mutation(
        "boxes", "boxes.py", "\nEMPTY = 0.5\n", "\nEMPTY = 0.7\n",
        "test_data_limits.py::test_half_of_the_images_without_an_object",
    ),
    Mutation(
        "boxes", "boxes.py", "> PIXELS).mean() > 0.5", "> PIXELS).mean() > 0",
        "test_data_limits.py::test_one_box_in_pixels_is_a_box_outside",
    ),
    Mutation(
        "boxes", "boxes.py", "TINY = 4.0\n", "TINY = 3.0\n",
        "test_data_boxes.py::test_objects_that_are_too_small_to_see",
    ),
    # images, and records whose bytes are broken
    Mutation(
        "images", "images.py", "SERIOUS_SHARE = 0.01\n", "SERIOUS_SHARE = 0.16\n",
        "test_data_limits.py::test_one_val_image_of_a_hundred_in_train",
    ),
    Mutation(
        "images", "images.py", "c.orientation != UPRIGHT", "c.orientation > 4",
        "test_data_images.py::test_a_picture_that_viewers_turn",
    ),
    Mutation(
        "images", "images.py", "STRETCHED = 2.0\n", "STRETCHED = 5.0\n",
        "test_data_images.py::test_images_that_are_stretched",
    ),
    Mutation(
        "records", "faults.py", "expected_faults(split, faults) <= allowed",
        "expected_faults(split, faults) < allowed", "test_data_images.py::test_damaged_records",
    ),
    # evaluation
    Mutation(
        "evaluation", "evaluation.py", "_LOW_ENOUGH = 0.01\n", "_LOW_ENOUGH = 0.25\n",
        "test_configuration_limits.py::test_a_score_of_one_percent_cuts_nothing",
    ),
    Mutation(
        "evaluation", "evaluation.py", "_DETECTIONS = 100\n", "_DETECTIONS = 90\n",
        "test_evaluation_checks.py::test_coco_counts_a_hundred_detections",
    ),
    Mutation(
        "evaluation", "run.py",
        "        *evaluation.crowded(subject, data.train.most_objects if data else None),\n", "",
        "test_whole_check.py::test_the_most_crowded_image_is_held_against_the_reader",
    ),
    # ignored-fields
    Mutation(
        "ignored-fields", "ignored.py", '    "batch_queue_capacity",\n', "",
        "test_configuration_limits.py::test_every_field_of_tensorflow_1",
    ),
    Mutation(
        "ignored-fields", "ignored.py", "        severity = subject.mended\n",
        "        severity = ignored.severity\n",
        "test_configuration_limits.py"
        "::test_what_the_run_does_is_a_note_to_whoever_wrote_the_batch",
    ),
    Mutation(
        "ignored-fields", "ignored.py", ' and not ignored.here.startswith("biases")', "",
        "test_configuration_limits.py"
        "::test_what_the_run_does_is_a_note_to_whoever_wrote_the_batch",
    ),
    # fine-tune
    Mutation(
        "fine-tune", "fine_tune.py", " or config.from_detection_checkpoint", "",
        "test_configuration_limits.py::test_from_detection_checkpoint_says_the_type",
    ),
    Mutation(
        "fine-tune", "fine_tune.py", '("detection", "full", "fine_tune")',
        '("detection", "fine_tune")',
        "test_configuration_limits.py::test_a_reference_that_starts_from_a_detector_keeps_its_rate",
    ),
    Mutation(
        "fine-tune", "fine_tune.py", '("detection", "full", "fine_tune")', '("detection", "full")',
        "test_configuration_limits.py::test_a_reference_that_starts_from_a_detector_keeps_its_rate",
    ),
    Mutation(
        "fine-tune", "fine_tune.py", "_FROM_SCRATCH = 0.5\n", "_FROM_SCRATCH = 0.3\n",
        "test_fine_tune_checks.py::test_a_detector_s_weights_at_the_rate_for_a_backbone",
    ),
    Mutation(
        "fine-tune", "weights.py", "in (prefix.parent, prefix.parent.parent):",
        "in (prefix.parent.parent,):",
        "test_configuration_limits.py::test_the_file_beside_a_checkpoint",
    ),
    # memory
    Mutation(
        "memory", "memory.py", "if fit.cannot:", "if fit.cannot and not fit.largest:",
        "test_memory_check.py::test_what_does_not_fit_is_an_error",
    ),
    # dataset
    Mutation(
        "dataset", "dataset.py", "if names and not is_coco(names):", "if False:",
        "test_dataset.py::test_a_label_map_of_one_s_own",
    ),
    Mutation(
        "dataset", "dataset.py", "plan.data.unlike_coco and not own_target",
        "plan.data.unlike_coco", "test_dataset.py::test_a_target_of_one_s_own_is_one",
    ),
    Mutation(
        "image-budget", "budget.py", "(own_target or not subject.plan.data.unlike_coco)",
        "True",
        "test_dataset.py::test_written_counts_do_not_silence_epochs_and_plan",
    ),
    Mutation(
        COUNT, "counts.py", ", (dataset.CUSTOM,)", ", ()",
        "test_dataset.py::test_the_counts_name_the_same_remedy",
    ),
    # the order of all
    Mutation(
        "order", "finding.py", ", -f.cost.lost)", ", 0)",
        "test_whole_check.py::test_the_costliest_comes_first_among_equals",
    ),
    Mutation(
        "order", "run.py", "tuple(ordered(findings))", "tuple(findings)",
        "test_whole_check.py::test_a_report_is_in_that_order",
    ),
)  # fmt: skip
