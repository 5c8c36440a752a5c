"""The network-wide commit: one pure state machine for every level, and a small runner that carries it out.

The SMS is the root over NMSs, an NMS is in the middle over EMSs (or the root when it heals alone), an EMS
is the leaf over devices. All three run `transitions.step`; the EMS asks `device.next_action` what to do to
each device. Nothing here does I/O: durable rows and messages are ports that the services bring
(`runner.Log`, `runner.Members`).

    parent            this level                      members below
      │ validate ───▶ VALIDATING ─── validate ──────▶ lock, edit, validate      nothing touched
      │ ◀─ validated  VALIDATED  ◀────────────────
      │ provision ──▶ PROVISIONING ─ provision ─────▶ confirmed commit, read back = the yes vote
      │ ◀─ provisioned PROVISIONED ◀──────────────
      │   (root: COMMIT written durably here; no row means abort)
      │ confirm ────▶ CONFIRMING ─── confirm ───────▶ confirm, read back; only forward from here
      │ ◀─ confirmed  COMMITTED  ◀────────────────
      └ abort ──────▶ ABORTING ───── abort ─────────▶ cancel, read back; ABORTED
"""
