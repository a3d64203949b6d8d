"""Which test covers which row of the fault tables, and the page that shows it.

`python -m tests.support.fault_tables` writes docs/reference/fault-tables.md; a test compares the page with this list and
looks every named test up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "fault-tables.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One row. `tests`: file below tests/ -> names. `not_run`: what of the row is not run here, and why."""

    number: str
    fault: str
    tests: dict[str, tuple[str, ...]] = field(default_factory=dict)
    not_run: str = ""


PUSH = "acceptance/test_push.py"
KILL = "acceptance/test_kill_push.py"
KILL_PULL = "acceptance/test_kill_pull.py"
JOURNEYS = "acceptance/test_pull_journeys.py"
ERRORS = "acceptance/test_pull_errors.py"
CONFLICTS = "acceptance/test_conflicts.py"
PLAN = "acceptance/test_plan_apply.py"
UNDO = "acceptance/test_undo.py"
ROUTE = "acceptance/test_workbook_route.py"
WRITER = "integration/test_plant3d_writer.py"
BACKUP = "integration/test_backup.py"
LOCKS = "integration/test_plant3d_locks.py"
FAULTS = "integration/test_synapse_faults.py"
SERVER = "integration/test_plant3d_sqlserver.py"
WORKBOOK = "integration/test_workbook.py"
OPEN = "unit/test_plant3d_open.py"
READER = "unit/test_plant3d_reader.py"
PORTS = "contracts/test_synapse_ports.py"
PLANNING = "unit/test_planning.py"
STATE = "contracts/test_state.py"
WORKER = "integration/test_jobs_worker.py"
QUEUE = "integration/test_jobs_queue.py"
SCHEDULE = "integration/test_jobs_schedule.py"
BELL = "integration/test_jobs_bell.py"
COMMANDS = "integration/test_jobs_commands.py"
SYNC = "integration/test_web_sync.py"
DECISIONS = "integration/test_web_decisions.py"
HEALTH = "integration/test_web_health.py"
SERVICE = "integration/test_faults_service.py"
PROCESS = "integration/test_faults_process.py"
DOCTOR = "acceptance/test_doctor.py"
STATES = "integration/test_faults_state.py"
MERGE = "unit/test_merge_truth_table.py"
MISSING = "unit/test_missing.py"
TWO_WAY = "properties/test_two_way_sync.py"

KILLED_PULL = "test_a_pull_of_edits_killed_at_a_point_ends_as_if_nothing_had_died"
KILLED_RUN = "test_killed_at_each_point_of_a_run_both_ways_the_next_run_ends_where_an_undisturbed_one_would"

TABLES: dict[str, tuple[str, tuple[Fault, ...]]] = {
    "A1": (
        "A pull is killed",
        tuple(
            Fault(
                number="A1", fault=f"kill -9: {step}", tests={KILL_PULL: (KILLED_PULL,), KILL: (KILLED_RUN,)}
            )
            for step in (
                "run row stored",
                "lease taken",
                "copy of the source begun",
                "copy closed",
                "page of the feed read, stored",
                "plan about to be stored, stored",
                "guards passed",
                "intent about to be stored, stored",
                "request sent",
                "reply received",
                "receipts stored, base moved",
                "bookkeeping about to be stored, stored",
                "run about to finish, finished",
                "lease released",
            )
        )
        + (
            Fault(
                number="A1",
                fault="kill -9 while the next run repairs",
                tests={
                    KILL_PULL: ("test_a_run_that_repairs_may_be_killed_too",),
                    KILL: ("test_killed_again_while_recovering",),
                },
            ),
        ),
    ),
    "A2": (
        "A push is killed",
        tuple(
            Fault(number="A2", fault=f"kill -9: {step}", tests={KILL: (KILLED_RUN,)})
            for step in (
                "preflight passed",
                "backup begun",
                "backup verified",
                "intent about to be stored, stored",
                "before BEGIN IMMEDIATE, after it",
                "expected values read",
                "UPDATE done",
                "before COMMIT",
                "read back",
                "receipt, audit and base stored",
                "lease released",
            )
        )
        + (
            Fault(
                number="A2",
                fault="kill -9 after COMMIT, before the receipt: found applied, no second write",
                tests={
                    KILL: ("test_a_cell_committed_before_the_receipt_is_found_and_not_written_again",),
                    WRITER: ("test_killed_at_any_step_the_next_attempt_ends_as_if_nothing_had_happened",),
                },
            ),
            Fault(
                number="A2",
                fault="kill -9 after a choice was stored, while it is carried out, while an undo is applied",
                tests={
                    KILL: (
                        "test_killed_after_a_choice_was_stored",
                        "test_killed_while_carrying_out_a_choice",
                        "test_killed_while_applying_an_undo",
                    )
                },
            ),
            Fault(
                number="A2",
                fault="backup file complete or absent, never half",
                tests={BACKUP: ("test_a_killed_backup_is_complete_or_absent",)},
            ),
        ),
    ),
    "A3": (
        "The process stalls, stops or runs into an error",
        (
            Fault(
                number="A3",
                fault="Parent killed, child goes on",
                tests={
                    PROCESS: (
                        "test_an_orphan_ends_after_the_call_it_is_in_and_another_worker_does_the_rest",
                        "test_an_orphan_whose_lease_ran_out_writes_nothing_more",
                    ),
                    STATE: (
                        "test_an_expired_lease_is_taken_over_and_the_old_run_cannot_write",
                        "test_an_intent_needs_the_current_fence_and_stays_open_until_closed",
                        "test_a_given_back_fence_is_void",
                    ),
                    QUEUE: ("test_one_who_was_away_too_long_cannot_end_a_run_that_another_carries_on",),
                },
            ),
            Fault(
                number="A4",
                fault="Frozen for longer than the lease while another takes over, also between the check of the fence and the call",
                tests={
                    PROCESS: (
                        "test_frozen_between_the_check_and_the_call_to_synapse_the_late_call_repeats_what_was_done",
                        "test_frozen_before_a_call_whose_values_were_overtaken_the_next_run_puts_it_right",
                        "test_frozen_around_the_write_into_plant_3d_each_cell_is_written_once",
                        "test_frozen_before_the_write_the_late_one_does_not_overwrite_a_designer",
                    ),
                    WORKER: ("test_a_worker_that_slept_through_its_lease_writes_nothing_more",),
                    STATE: ("test_a_heartbeat_that_finds_another_holder_says_so",),
                },
            ),
            Fault(
                number="A5",
                fault="SIGTERM in mid-batch; killed when the grace is over",
                tests={
                    PROCESS: (
                        "test_a_container_stopped_in_mid_batch_and_killed_when_its_grace_is_over_loses_nothing",
                        "test_a_scheduler_killed_when_its_grace_is_over_asks_for_no_slot_twice",
                        "test_a_web_process_asked_to_end_lets_those_who_wait_go_and_they_find_their_run_again",
                    ),
                    WORKER: (
                        "test_sigterm_puts_the_run_back_and_the_process_ends_by_itself",
                        "test_a_worker_killed_in_mid_run_is_replaced_and_nothing_is_done_twice",
                        "test_workers_killed_at_random_during_forty_runs_leave_none_stuck_and_the_data_right",
                    ),
                    COMMANDS: ("test_up_runs_everything_and_leaves_nothing_behind",),
                },
                not_run="The stop of a real container: no container engine here. The same signals are sent to the processes.",
            ),
            Fault(
                number="A6",
                fault="Out of memory; an exception anywhere; the deadline (between two batches: the run waits)",
                tests={
                    PROCESS: (
                        "test_a_worker_that_runs_out_of_memory_is_replaced_and_nothing_is_done_twice",
                        "test_an_exception_at_a_random_line_ends_the_process_and_the_next_worker_does_the_rest",
                        "test_a_fault_at_each_point_of_a_run_ends_the_process_and_the_next_worker_does_the_rest",
                        "test_a_thread_that_fails_ends_the_worker_at_a_safe_point",
                    ),
                    SERVICE: ("test_a_run_past_its_deadline_waits_and_is_no_error_of_a_row",),
                    QUEUE: ("test_a_run_that_loses_five_workers_in_a_row_ends_as_abandoned",),
                },
            ),
            Fault(
                number="A7",
                fault="Web process dies before or after queueing; answer lost to the caller",
                tests={
                    PROCESS: (
                        "test_a_web_process_killed_around_queueing_makes_one_run_when_the_request_is_repeated",
                        "test_a_fault_of_the_web_process_after_queueing_leaves_the_key_leading_to_the_run",
                    ),
                    SYNC: (
                        "test_after_a_crash_between_queueing_and_answering_the_repetition_finds_the_same_run",
                        "test_after_a_crash_before_queueing_the_repetition_queues_the_run",
                        "test_the_same_idempotency_key_gives_the_stored_answer",
                        "test_a_process_of_another_machine_counts_as_gone_only_after_two_minutes",
                    ),
                },
            ),
        ),
    ),
    "B": (
        "The Plant 3D source",
        (
            Fault(
                number="B1",
                fault="Locked for a moment, for long, forever",
                tests={
                    LOCKS: (
                        "test_a_locked_file_is_retried_and_then_reported",
                        "test_a_file_that_is_let_go_in_time_is_read",
                    ),
                    ERRORS: ("test_a_file_locked_by_another_process_is_tried_again_later",),
                    PUSH: ("test_a_file_locked_by_another_program_is_not_written_to_and_the_next_run_heals",),
                },
            ),
            Fault(
                number="B2",
                fault="Commits between and during our reads",
                tests={LOCKS: ("test_a_snapshot_is_one_moment_while_somebody_commits_all_the_time",)},
            ),
            Fault(
                number="B3",
                fault="Hot journal; journal of another file next to it",
                tests={
                    LOCKS: ("test_a_file_left_in_the_middle_of_a_save_is_neither_read_nor_touched",),
                    ERRORS: ("test_a_file_with_a_hot_journal_is_neither_read_nor_touched",),
                    WRITER: ("test_a_journal_left_by_a_crashed_writer_is_left_to_plant_3d",),
                },
            ),
            Fault(
                number="B4",
                fault="Replaced by rename, truncated, 0 bytes, missing, read-only, other DBID, older backup",
                tests={
                    WRITER: ("test_a_file_replaced_while_the_push_runs_is_not_written",),
                    OPEN: ("test_a_cut_off_file_is_corrupt", "test_an_empty_file_is_told_apart"),
                    ERRORS: ("test_a_file_that_is_no_plant_3d_database_ends_with_78",),
                    PUSH: ("test_a_read_only_database_is_told_before_anything_is_written",),
                    JOURNEYS: (
                        "test_another_database_is_stopped_before_the_first_write",
                        "test_an_older_copy_put_back_is_stopped_before_the_first_write",
                    ),
                },
            ),
            Fault(
                number="B5",
                fault="Half-migrated: class without table, column gone in one class, type changed, new class",
                tests={
                    READER: (
                        "test_a_level_whose_table_is_gone_makes_its_columns_unknown",
                        "test_a_column_that_the_table_lacks_is_unknown_in_that_class_alone",
                    ),
                    PLANNING: ("test_a_field_that_was_not_read_is_not_a_change",),
                },
            ),
            Fault(
                number="B6",
                fault="Schema changes between plan and apply",
                tests={
                    PUSH: ("test_a_column_that_went_missing_since_the_plan_stops_the_item_not_the_run",),
                    PLAN: ("test_a_plan_is_refused_after_the_mapping_changed",),
                },
            ),
            Fault(
                number="B7",
                fault="Invalid UTF-8, NUL, infinity, text in INTEGER, long text, blob where text",
                tests={
                    READER: (
                        "test_a_cell_that_cannot_be_read_is_unknown_and_all_others_land",
                        "test_text_or_fractions_in_a_whole_number_column_are_unknown",
                        "test_infinity_is_unknown",
                    ),
                    JOURNEYS: ("test_a_dirty_database_loses_no_good_row_and_stops_at_no_hazard",),
                },
            ),
            Fault(
                number="B8",
                fault="Share with lying locks, slow share, share gone in mid-copy",
                tests={
                    WRITER: (
                        "test_a_mount_with_locks_nobody_can_trust_is_refused",
                        "test_the_mount_table_tells_how_far_locks_reach",
                    ),
                    LOCKS: ("test_a_copy_that_takes_too_long_is_given_up",),
                },
                not_run="A real SMB share: no kernel support for mounting one here; a test on site.",
            ),
            Fault(
                number="B9",
                fault="SQL Server: 1205, 3960, 1222, 18456, lost connection before and after COMMIT",
                tests={
                    WRITER: (
                        "test_errors_of_sql_server_are_told_apart_by_number",
                        "test_a_connection_lost_around_commit_is_settled_by_looking",
                    ),
                    SERVER: ("test_a_connection_lost_in_mid_read_is_tried_again_later",),
                },
                not_run="A real SQL Server: none can be had here; the wire is played by a scripted endpoint.",
            ),
            Fault(
                number="B10",
                fault="A designer edits the same cell between plan and write; drawing open",
                tests={
                    PUSH: (
                        "test_a_value_changed_in_plant_3d_between_plan_and_write_is_not_overwritten_and_becomes_a_conflict",
                        "test_an_item_on_an_open_drawing_waits_and_the_others_are_written",
                        "test_a_drawing_folder_that_cannot_be_seen_counts_as_open_unless_the_project_says_otherwise",
                    ),
                    WRITER: ("test_a_drawing_opened_while_the_transaction_runs_rolls_it_back",),
                },
            ),
            Fault(
                number="B11",
                fault="Our write is later overwritten by an open Plant 3D session",
                tests={
                    CONFLICTS: (
                        "test_a_stale_plant_3d_session_that_puts_the_old_value_back_loses_no_word",
                        "test_a_value_that_was_put_back_is_decided_by_a_person_and_then_quiet",
                        "test_a_field_put_back_twice_is_frozen_whatever_is_typed_until_somebody_decides",
                    ),
                    TWO_WAY: ("test_both_sides_meet_and_no_edit_is_lost",),
                },
                not_run="How a real session behaves, and which rows it looks at: needs Plant 3D.",
            ),
        ),
    ),
    "C": (
        "SYNAPSE",
        (
            Fault(
                number="C1",
                fault="500, 502, 503 before commit; 500 after commit",
                tests={
                    ERRORS: (
                        "test_a_server_error_ends_with_75_after_the_retries",
                        "test_a_500_after_the_commit_is_unknown_and_found_applied_by_the_next_run",
                        "test_a_500_after_the_commit_of_an_update_is_found_applied_too",
                    )
                },
            ),
            Fault(
                number="C2",
                fault="429 with Retry-After in seconds, as a date, absurd, missing",
                tests={
                    FAULTS: (
                        "test_retry_after_is_honoured_in_seconds_or_as_a_date_and_ignored_when_meaningless",
                        "test_a_pause_of_ten_hours_is_handed_to_the_run_at_once",
                    ),
                    ERRORS: ("test_429_is_waited_for_when_short_and_put_off_when_long",),
                },
            ),
            Fault(
                number="C3",
                fault="Timeouts, one byte at a time, reset in the middle of the body",
                tests={
                    FAULTS: (
                        "test_an_answer_of_one_byte_at_a_time_ends_at_the_deadline_of_the_call",
                        "test_a_server_that_says_nothing_at_all_is_left_at_the_deadline_of_the_call",
                    ),
                    ERRORS: ("test_an_answer_that_never_comes_whole_ends_with_75_and_is_accounted_for",),
                },
            ),
            Fault(
                number="C4",
                fault="Reply lost after commit; request delivered twice",
                tests={
                    KILL: ("test_a_lost_answer_of_synapse_leaves_no_second_write",),
                    FAULTS: (
                        "test_an_answer_lost_after_the_commit_leads_to_one_effective_write",
                        "test_a_request_delivered_twice_is_applied_once",
                    ),
                },
            ),
            Fault(
                number="C5",
                fault="200 with fewer, other, unknown or extra items",
                tests={
                    FAULTS: (
                        "test_each_item_without_a_sound_result_of_its_own_is_unknown",
                        "test_results_of_things_never_sent_are_ignored_and_told",
                    ),
                    ERRORS: (
                        "test_an_answer_with_fewer_items_than_sent_leaves_the_others_unknown_until_looked_at",
                    ),
                },
            ),
            Fault(
                number="C6",
                fault="Pages shift while they are read; the same row twice",
                tests={
                    PORTS: ("test_an_asset_changed_during_a_pass_is_seen_again_and_none_is_missed",),
                    FAULTS: ("test_a_page_that_breaks_the_contract_is_never_handed_on",),
                },
            ),
            Fault(
                number="C7",
                fault="One row of a batch is refused; a tag held by a hidden row",
                tests={
                    ERRORS: ("test_one_item_that_synapse_refuses_does_not_stop_the_others",),
                    PORTS: ("test_values_synapse_cannot_hold_fail_alone",),
                },
            ),
            Fault(
                number="C8",
                fault="Value altered on the way in",
                tests={JOURNEYS: ("test_a_value_that_synapse_alters_is_reported_once_and_then_agreed",)},
            ),
            Fault(
                number="C9",
                fault="401, key revoked, 403 for one project",
                tests={
                    ERRORS: (
                        "test_a_wrong_key_ends_with_78_and_is_tried_once",
                        "test_a_key_of_another_project_ends_with_78",
                    ),
                    FAULTS: ("test_what_a_repeat_cannot_heal_is_asked_once_and_named",),
                },
            ),
            Fault(
                number="C10",
                fault="HTML login page, redirect to another host, huge or compressed body",
                tests={
                    ERRORS: (
                        "test_a_login_page_ends_with_78",
                        "test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else",
                    ),
                    FAULTS: (
                        "test_a_reply_of_200_megabytes_is_given_up_at_the_limit",
                        "test_a_compressed_answer_is_not_unpacked",
                    ),
                },
            ),
            Fault(
                number="C11",
                fault="Project data cleared by an administrator",
                tests={JOURNEYS: ("test_a_synapse_that_lost_most_assets_is_stopped",)},
            ),
        ),
    ),
    "D": (
        "Redis and queue",
        (
            Fault(
                number="D1",
                fault="Redis down when a run is queued (health says degraded; the web stays ready, a run needs the table only)",
                tests={
                    PROCESS: ("test_with_redis_killed_the_web_takes_a_run_says_so_and_a_worker_does_it",),
                    HEALTH: ("test_redis_away_is_told_and_runs_are_still_accepted",),
                    BELL: (
                        "test_without_redis_a_run_is_queued_all_the_same_and_the_caller_is_not_held_up",
                        "test_a_bell_that_comes_back_is_heard_again",
                    ),
                },
            ),
            Fault(
                number="D2",
                fault="Restart, flush, also in mid-run",
                tests={
                    PROCESS: (
                        "test_redis_flushed_and_restarted_in_mid_run_loses_nothing_but_the_ring",
                        "test_redis_flushed_two_hundred_times_at_random_moments_changes_no_result",
                    ),
                    WORKER: ("test_redis_flushed_and_every_job_delivered_twice_changes_nothing",),
                    BELL: ("test_a_bell_that_comes_back_is_heard_again",),
                },
            ),
            Fault(
                number="D3",
                fault="Job evicted, out of memory, read-only replica",
                tests={
                    BELL: (
                        "test_a_ring_whose_job_was_evicted_is_a_quiet_one",
                        "test_keys_of_a_wrong_type_in_redis_do_not_stop_the_worker",
                        "test_the_policy_of_redis_can_be_read_by_the_doctor",
                    ),
                    PROCESS: ("test_a_redis_that_evicts_the_job_loses_the_ring_and_not_the_run",),
                    DOCTOR: ("test_a_redis_that_may_drop_a_ring_is_named",),
                    SERVICE: ("test_a_redis_that_takes_no_writes_loses_the_ring_and_not_the_run",),
                },
            ),
            Fault(
                number="D4",
                fault="Every job delivered twice, late, after the run ended",
                tests={
                    WORKER: ("test_redis_flushed_and_every_job_delivered_twice_changes_nothing",),
                    QUEUE: ("test_two_workers_never_claim_the_same_run_nor_the_same_project",),
                },
            ),
            Fault(
                number="D5",
                fault="Forged job: unknown run, other function, pickle, 10 MB",
                tests={
                    BELL: ("test_foreign_jobs_are_dropped_counted_and_audited_and_never_executed",),
                },
            ),
            Fault(
                number="D6",
                fault="Thousands of jobs waiting, worker gone for a day",
                tests={
                    PROCESS: ("test_ten_thousand_rings_of_a_day_without_a_worker_are_one_run",),
                    SERVICE: ("test_a_thousand_rings_that_piled_up_are_one_run_and_leave_nothing_behind",),
                    QUEUE: (
                        "test_fifty_presses_at_once_make_one_waiting_run",
                        "test_requests_claims_and_losses_at_once_never_leave_two_running_or_two_waiting_runs",
                    ),
                    SCHEDULE: ("test_slots_that_find_a_run_still_waiting_join_it_and_count_as_skipped",),
                },
            ),
        ),
    ),
    "E": (
        "The state database",
        (
            Fault(
                number="E1",
                fault="Locked for long, in mid-run",
                tests={
                    ERRORS: (
                        "test_a_locked_state_database_ends_with_75_and_writes_nothing",
                        "test_a_state_database_locked_in_mid_run_stops_before_the_next_write",
                    ),
                    HEALTH: ("test_health_and_liveness_answer_while_the_state_database_hangs",),
                    STATES: (
                        "test_a_state_database_locked_at_a_commit_that_decides_is_healed_by_the_next_run",
                        "test_a_state_database_locked_at_any_statement_is_healed_by_the_next_run",
                    ),
                },
            ),
            Fault(
                number="E2",
                fault="Full",
                tests={
                    ERRORS: ("test_a_full_state_database_stops_the_run_and_no_write_is_lost",),
                    STATE: ("test_a_full_state_database_is_told_and_leaves_nothing_half",),
                    STATES: (
                        "test_a_state_database_that_cannot_grow_from_any_statement_on_is_healed_by_the_next_run",
                        "test_a_postgresql_without_room_is_told_and_healed_by_the_next_run",
                        "test_a_postgresql_without_room_for_any_table_is_healed_by_the_next_run",
                    ),
                },
            ),
            Fault(
                number="E3",
                fault="Connection dropped before, during, after COMMIT (PostgreSQL)",
                tests={
                    SERVICE: ("test_a_connection_cut_before_commit_stores_nothing_and_the_next_one_works",),
                    HEALTH: ("test_an_unreachable_state_database_is_503_without_its_address",),
                    STATES: (
                        "test_a_connection_lost_after_a_commit_and_before_its_answer_is_settled_by_looking",
                        "test_a_connection_lost_at_any_commit_is_settled_by_looking",
                        "test_a_request_whose_commit_got_lost_is_carried_out_once_when_it_is_repeated",
                        "test_a_connection_that_the_server_ends_before_any_statement_is_healed_by_the_next_run",
                    ),
                },
            ),
            Fault(
                number="E4",
                fault="Restored from yesterday's backup",
                tests={
                    SERVICE: ("test_a_state_restored_from_yesterday_writes_nothing_twice_and_goes_on",),
                    STATES: (
                        "test_after_a_restore_equal_values_settle_and_different_ones_are_asked",
                        "test_the_gap_that_a_restored_backup_leaves_in_the_audit_trail_is_shown_by_an_export_kept_elsewhere",
                    ),
                },
            ),
            Fault(
                number="E5",
                fault="Lost completely",
                tests={
                    JOURNEYS: (
                        "test_a_lost_state_database_is_rebuilt_by_the_same_command_without_duplicates",
                        "test_rebuilding_a_lost_state_asks_synapse_a_few_times_not_once_per_item",
                    ),
                },
            ),
            Fault(
                number="E6",
                fault="Migration killed half-way; program and schema of different versions",
                tests={
                    SERVICE: ("test_a_migration_killed_half_way_is_done_by_the_next_start",),
                    STATE: ("test_a_database_of_another_version_is_refused_with_the_command_to_run",),
                    ERRORS: ("test_a_state_of_another_version_is_refused_with_the_command_to_run",),
                    STATES: (
                        "test_program_and_state_of_different_versions_are_refused_and_nothing_is_touched",
                        "test_services_of_an_older_version_end_by_themselves_once_a_newer_one_moved_the_schema",
                        "test_the_schema_is_not_moved_under_a_run_that_is_going",
                        "test_a_state_that_does_not_answer_now_is_not_taken_for_an_empty_one",
                    ),
                },
            ),
        ),
    ),
    "F": (
        "Time",
        (
            Fault(
                number="F1",
                fault="Clock back an hour, forward a day",
                tests={
                    STATE: ("test_leases_go_by_the_database_s_clock",),
                    CONFLICTS: ("test_our_own_clock_stepping_between_two_runs_decides_nothing_wrongly",),
                    SCHEDULE: ("test_a_clock_that_was_a_day_ahead_does_not_silence_the_schedule",),
                    MISSING: ("test_a_clock_that_goes_back_counts_nothing",),
                    STATES: (
                        "test_a_clock_set_in_mid_run_changes_no_result",
                        "test_a_clock_set_at_any_look_of_a_run_changes_no_result",
                        "test_runs_that_wait_are_due_although_our_clock_was_set_back",
                        "test_a_lost_run_is_found_although_our_clock_was_set_back",
                        "test_whole_processes_whose_clock_is_set_while_they_work_lose_no_run_and_double_none",
                    ),
                },
            ),
            Fault(
                number="F2",
                fault="Days of 23 and 25 hours in America/Toronto",
                tests={
                    SCHEDULE: (
                        "test_hours_in_which_clocks_change_in_toronto_have_twelve_slots_like_any_other",
                    ),
                    CONFLICTS: ("test_an_hour_that_happens_twice_does_not_change_who_was_later",),
                    STATES: (
                        "test_every_time_is_shown_with_its_zone_so_that_half_past_one_is_told_from_half_past_one",
                    ),
                },
            ),
            Fault(
                number="F3",
                fault="Wrong clocks of stations; timestamps in the future, equal, zero, decreasing",
                tests={
                    SERVICE: ("test_timestamps_of_wrong_clocks_change_no_result",),
                    CONFLICTS: (
                        "test_whatever_synapses_clock_says_edits_of_the_same_interval_are_asked",
                        "test_a_shifted_clock_decides_only_when_its_shift_is_known_and_then_rightly",
                    ),
                    MERGE: ("test_no_clock_shift_of_synapse_makes_a_wrong_winner",),
                },
            ),
            Fault(
                number="F4",
                fault="Leap day, year 2038, precision of ticks",
                tests={
                    SERVICE: (
                        "test_slots_and_runs_go_on_over_a_leap_day_and_the_end_of_32_bit_seconds",
                        "test_ticks_of_today_come_back_from_the_state_to_the_last_digit",
                    ),
                    SCHEDULE: ("test_a_moment_lies_in_its_slot",),
                },
            ),
        ),
    ),
    "G": (
        "Concurrency",
        (
            Fault(
                number="G1",
                fault="Two workers, two schedulers, two web processes, one project",
                tests={
                    WORKER: (
                        "test_two_workers_and_two_schedulers_double_no_run_and_lose_none",
                        "test_two_workers_work_on_redis_and_postgresql",
                        "test_two_hundred_runs_on_redis_and_postgresql_are_neither_doubled_nor_lost",
                    ),
                    STATE: ("test_of_many_that_want_the_lease_at_once_one_gets_it",),
                    SCHEDULE: ("test_however_many_schedulers_look_a_slot_makes_one_run",),
                    STATES: (
                        "test_one_idempotency_key_at_two_processes_at_the_same_moment_does_it_once",
                        "test_presses_at_two_processes_at_the_same_moment_make_one_run",
                    ),
                },
            ),
            Fault(
                number="G2",
                fault="Sync now 50 times in 5 s; during a run; preview meanwhile",
                tests={
                    SYNC: (
                        "test_fifty_presses_of_now_make_one_run_and_every_caller_gets_its_id",
                        "test_now_while_a_run_is_going_returns_it_and_queues_one_follow_up",
                    ),
                    QUEUE: (
                        "test_fifty_presses_at_once_make_one_waiting_run",
                        "test_presses_while_a_run_goes_share_one_follow_up_that_waits_for_the_burst_to_end",
                        "test_a_preview_never_becomes_a_write_by_joining",
                    ),
                    SCHEDULE: ("test_a_slot_gives_way_to_a_preview_that_waits",),
                },
            ),
            Fault(
                number="G3",
                fault="Two people decide one conflict; a run closes it meanwhile; plan approved twice or late",
                tests={
                    DECISIONS: (
                        "test_a_decision_about_values_that_moved_is_refused_with_the_new_state",
                        "test_a_plan_that_is_done_or_changed_is_not_applied",
                    ),
                    CONFLICTS: (
                        "test_the_second_person_to_decide_gets_the_new_state",
                        "test_a_choice_is_void_once_a_side_moves_elsewhere",
                    ),
                    STATE: (
                        "test_a_choice_is_bound_to_the_version_that_was_seen",
                        "test_a_plan_is_approved_once",
                    ),
                    PLAN: (
                        "test_a_plan_is_applied_once",
                        "test_an_older_plan_does_not_undo_a_newer_one",
                        "test_lines_that_moved_since_the_plan_are_refused_and_the_rest_is_applied",
                    ),
                    STATES: (
                        "test_of_two_decisions_at_the_same_moment_one_counts_and_the_other_sees_it",
                        "test_a_plan_applied_at_two_processes_at_the_same_moment_is_one_run",
                        "test_a_plan_applied_by_two_processes_at_once_is_carried_out_once",
                        "test_a_decision_taken_while_a_run_closes_the_conflict_leaves_both_sides_equal",
                        "test_a_decision_taken_at_any_moment_of_such_a_run_leaves_both_sides_equal",
                        "test_a_decision_taken_while_a_run_finds_new_values_is_never_carried_out_on_them",
                    ),
                },
            ),
            Fault(
                number="G4",
                fault="Mapping or ownership changed, project switched off, in mid-run",
                tests={
                    PLAN: (
                        "test_a_plan_is_refused_after_the_mapping_changed",
                        "test_a_plan_for_direct_writing_is_refused_once_writing_was_switched_off",
                    ),
                    STATES: (
                        "test_a_mapping_changed_in_mid_run_counts_from_the_next_run_on",
                        "test_a_project_switched_off_in_mid_run_counts_from_the_next_start_on",
                        "test_writing_forbidden_in_mid_run_is_heard_before_the_next_cell_and_loses_nothing",
                    ),
                },
            ),
            Fault(
                number="G5",
                fault="A run longer than the interval",
                tests={
                    SCHEDULE: (
                        "test_a_run_longer_than_the_interval_leaves_one_run_waiting_not_a_pile",
                        "test_after_a_long_pause_the_newest_slot_stands_for_all_missed_ones",
                        "test_slots_that_find_a_run_still_waiting_join_it_and_count_as_skipped",
                    ),
                },
            ),
        ),
    ),
    "H": (
        "Data",
        (
            Fault(
                number="H1",
                fault="Mass deletion, empty class, wrong file",
                tests={JOURNEYS: ("test_mass_deletion_is_stopped_before_the_first_write",)},
            ),
            Fault(
                number="H2",
                fault="Mass update; one column blanked",
                tests={
                    JOURNEYS: (
                        "test_a_mass_update_is_stopped_before_the_first_write",
                        "test_a_blanked_column_is_stopped_before_the_first_write",
                    )
                },
            ),
            Fault(
                number="H3",
                fault="Poison row: the others land",
                tests={
                    PUSH: (
                        "test_of_very_many_pushes_with_one_poisoned_all_others_land",
                        "test_a_value_the_column_cannot_hold_is_refused_with_its_reason_and_the_others_land",
                    ),
                    ERRORS: ("test_one_item_that_synapse_refuses_does_not_stop_the_others",),
                },
            ),
            Fault(
                number="H4",
                fault="Huge: memory bounded by the batch",
                tests={READER: ("test_memory_does_not_grow_with_the_values_of_the_items",)},
                not_run="A million assets: too long for a test; the benchmark measures large projects.",
            ),
            Fault(
                number="H5",
                fault="Duplicate, blank and placeholder tags",
                tests={
                    JOURNEYS: (
                        "test_two_items_with_one_tag_are_both_skipped_and_each_names_the_other",
                        "test_an_untagged_item_waits_and_is_created_once_it_is_tagged",
                        "test_a_dirty_database_loses_no_good_row_and_stops_at_no_hazard",
                    )
                },
            ),
            Fault(
                number="H6",
                fault="Rename, swap, chain, reuse of a retired tag; copy of a project",
                tests={
                    JOURNEYS: (
                        "test_renaming_a_hundred_tags_creates_and_archives_nothing",
                        "test_swapping_two_tags_creates_and_archives_nothing",
                        "test_a_chain_of_three_renames_creates_and_archives_nothing",
                        "test_reusing_a_retired_tag_creates_and_archives_nothing",
                    ),
                    ERRORS: ("test_a_collaboration_or_vault_copy_is_refused_unless_allowed",),
                    PUSH: ("test_a_copy_of_a_collaboration_project_is_never_written_to",),
                },
            ),
            Fault(
                number="H7",
                fault="Our own echo, also after the user changed it back",
                tests={
                    PUSH: (
                        "test_the_pulls_echo_of_a_push_writes_nothing_back",
                        "test_two_edits_one_after_the_other_arrive_one_after_the_other",
                    ),
                    JOURNEYS: ("test_a_value_that_synapse_alters_is_reported_once_and_then_agreed",),
                },
            ),
            Fault(
                number="H8",
                fault="Ping-pong with a third program that rewrites our value",
                tests={
                    CONFLICTS: (
                        "test_a_field_that_flips_between_two_values_is_frozen_and_explained_until_somebody_decides",
                        "test_a_third_program_that_keeps_putting_its_value_back_is_stopped_after_a_few_writes",
                    )
                },
            ),
            Fault(
                number="H9",
                fault="Values built to break tools: formulas, markup, escape sequences, lone surrogates",
                tests={
                    WORKBOOK: ("test_every_value_is_text_whatever_it_looks_like",),
                    ROUTE: ("test_the_workbook_holds_texts_not_formulas_in_a_sheet_per_class",),
                    FAULTS: ("test_a_value_json_cannot_hold_is_refused_by_item_instead_of_sent_as_null",),
                    PUSH: ("test_the_same_loop_on_a_database_that_our_sample_did_not_make",),
                },
            ),
        ),
    ),
}


def named() -> set[tuple[str, str]]:
    """(file, test) of every row."""
    return {
        (file, name)
        for _title, rows in TABLES.values()
        for row in rows
        for file, names in row.tests.items()
        for name in names
    }


def page() -> str:
    """The page as Markdown."""
    lines = [
        "# Fault tables",
        "",
        "Each fault we know of, and the tests that play it. Written by `python -m tests.support.fault_tables`; a test",
        "fails when this page or a name on it is out of date.",
    ]
    for title, (heading, rows) in TABLES.items():
        lines += ["", f"## {title}. {heading}", "", "| | Fault | Tests | Not run here |", "|---|---|---|---|"]
        for row in rows:
            tests = "<br>".join(f"`{file}::{name}`" for file, names in row.tests.items() for name in names)
            lines.append(f"| {row.number} | {row.fault} | {tests} | {row.not_run} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
