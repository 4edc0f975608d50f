"""An agent by the official A2A SDK for Python, in each version and binding: says its port in a line, and
serves until it is ended. It places orders, and keeps each as a task."""

import json
import socket

import uvicorn
from a2a.helpers.proto_helpers import get_data_parts, new_task, new_text_artifact_update_event
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes.agent_card_routes import create_agent_card_routes
from a2a.server.routes.jsonrpc_routes import create_jsonrpc_routes
from a2a.server.routes.rest_routes import create_rest_routes
from a2a.server.tasks import InMemoryTaskStore
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from starlette.applications import Starlette


class Orders(AgentExecutor):
    async def execute(self, context, event_queue):
        ids = (context.task_id, context.context_id)
        if context.current_task is None:
            task = new_task(*ids, TaskState.TASK_STATE_WORKING, history=[context.message])
            await event_queue.enqueue_event(task)
        amount = get_data_parts(context.message.parts)[0]["amount"]
        text = f"ordered for {amount:g}"
        await event_queue.enqueue_event(new_text_artifact_update_event(*ids, "order", text))
        done = TaskStatus(state=TaskState.TASK_STATE_INPUT_REQUIRED)
        await event_queue.enqueue_event(
            TaskStatusUpdateEvent(task_id=ids[0], context_id=ids[1], status=done)
        )

    async def cancel(self, context, event_queue):
        canceled = TaskStatus(state=TaskState.TASK_STATE_CANCELED)
        await event_queue.enqueue_event(
            TaskStatusUpdateEvent(
                task_id=context.task_id, context_id=context.context_id, status=canceled
            )
        )


with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
url = f"http://127.0.0.1:{port}"
card = AgentCard(
    name="shop",
    description="Places orders.",
    version="1",
    capabilities=AgentCapabilities(streaming=True, extended_agent_card=True),
    default_input_modes=["application/json"],
    default_output_modes=["text/plain"],
    skills=[AgentSkill(id="order", name="order", description="Places an order.", tags=["shop"])],
    supported_interfaces=[
        AgentInterface(url=url, protocol_binding=binding, protocol_version=version)
        for version in ["1.0", "0.3"]
        for binding in ["JSONRPC", "HTTP+JSON"]
    ],
)
handler = DefaultRequestHandler(
    agent_executor=Orders(),
    task_store=InMemoryTaskStore(),
    agent_card=card,
    extended_agent_card=card,
)
routes = [
    *create_agent_card_routes(card),
    *create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True),
    *create_rest_routes(handler, enable_v0_3_compat=True),
]
print(json.dumps({"port": port}), flush=True)
uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=port, log_level="error")
