"""What the tests use of the README: ``test_readme.py`` checks that it contains each of these."""

# Edits: a file, the text before and the text after
API_DOWNTIME = "activities.py", "# raise ConnectionError", "raise ConnectionError"
BUG = "workflow.py", "# raise RuntimeError", "raise RuntimeError"
CHANGE = "workflow.py", "# await workflow.sleep(1)", "await workflow.sleep(1)"
INVALID_ORDER = "starter.py", 'cc_expiry="12/99"', 'cc_expiry="12/23"'
PATCH = """\
        if workflow.patched("pause-before-payment"):
            await workflow.sleep(1)
"""
SLOW = "SIMULATED_LATENCY_SECONDS = 4.0"

# Commands
SERVER = "uv run temporal server start-dev"
WORKER = "uv run worker.py"
STARTER = "uv run starter.py"
APPROVE = "uv run temporal workflow signal --workflow-id WORKFLOW_ID --name approve_order"
RESULT = "uv run temporal workflow result --workflow-id WORKFLOW_ID"
SHOW = "uv run temporal workflow show --workflow-id WORKFLOW_ID"
SAVE = f"{SHOW} -o json > tests/histories/NAME.json"
REPLAY = "uv run pytest tests/test_replay.py"
TEN_ORDERS = "(for i in {1..10}; do uv run starter.py | tail -n 1 & done; wait)"
APPROVE_ALL = """\
uv run temporal workflow signal --query 'WorkflowType="OrderFulfillment" AND \
ExecutionStatus="Running"' --name approve_order --reason "bug fixed" --yes
"""
ONE_TERMINAL = f"{SERVER} --log-level never &\n{WORKER} &\n{STARTER}\n"
STOP_BOTH = "kill %1 %2"

# Outputs
SERVER_STARTED = "Temporal Server:      localhost:7233\n"
WORKER_STARTED = "Worker started: localhost:7233, namespace default, task queue order-fulfillment\n"
STARTED = """\
Started workflow order-5f0c2b1
Web UI: http://localhost:8233/namespaces/default/workflows/order-5f0c2b1
Approve the order within 30 s after payment:
uv run temporal workflow signal --workflow-id order-5f0c2b1 --name approve_order
"""
APPROVED = "Signal workflow succeeded\n"
FULFILLED = """\
Order order-5f0c2b1 fulfilled: authorized $39.98, approved, reserved 2 x Temporal mug, delivered.
"""
LOG = """\
10:31:09 order-5f0c2b1 process_payment authorizing $39.98, idempotency key order-5f0c2b1
10:31:10 order-5f0c2b1 waits for the signal approve_order
10:31:17 order-5f0c2b1 reserve_inventory reserving 2 x Temporal mug
10:31:18 order-5f0c2b1 deliver_order delivering 2 x Temporal mug
"""
EXPIRED = "FAILED: OrderExpired: order expired"
CARD_EXPIRED = "FAILED: CreditCardExpired: credit card expired"
DOWN = "ConnectionError: API is down"
BUGGY = "RuntimeError: workflow bug!"
NONDETERMINISM = "[TMPRL1100] Nondeterminism error"
