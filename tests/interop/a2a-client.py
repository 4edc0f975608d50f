"""A client by the official A2A SDK for Python: one line says where, how and what to order, one line what
came of it. A task that is given is asked for first, as a stranger would.

    {"url", "token", "binding", "version", "streaming", "amounts": [...], "task": id}
"""

import asyncio
import json
import sys

import httpx
from a2a.client.card_resolver import A2ACardResolver
from a2a.client.client import ClientConfig
from a2a.client.client_factory import ClientFactory
from a2a.helpers.proto_helpers import new_data_message
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Role,
    SendMessageRequest,
    TaskState,
)


async def told(call):
    """What came of a call, or its error."""
    try:
        return await call
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error)}


async def order(client, amount, task_id=None):
    message = new_data_message({"amount": amount}, role=Role.ROLE_USER, task_id=task_id)
    tasks = []
    async for event in client.send_message(SendMessageRequest(message=message)):
        for part in ["task", "status_update", "artifact_update"]:
            if event.HasField(part):
                one = getattr(event, part)
                tasks.append(one.id if part == "task" else one.task_id)
    return {"task": tasks[0]}


async def get(client, task):
    found = await client.get_task(GetTaskRequest(id=task))
    return {"task": found.id, "text": found.artifacts[0].parts[0].text}


async def cancel(client, task):
    found = await client.cancel_task(CancelTaskRequest(id=task))
    return {"state": TaskState.Name(found.status.state)}


async def listed(client):
    found = await client.list_tasks(ListTasksRequest())
    return {"tasks": [task.id for task in found.tasks]}


async def main(question):
    async with httpx.AsyncClient() as public:
        card = await A2ACardResolver(public, question["url"]).get_agent_card()
    urls = sorted({interface.url for interface in card.supported_interfaces})
    wanted = [
        interface
        for interface in card.supported_interfaces
        if interface.protocol_binding == question["binding"]
        and interface.protocol_version == question["version"]
    ]
    # The address that the card names is that of the gate, as the world would reach it.
    for interface in wanted:
        interface.url = question["url"]
    del card.supported_interfaces[:]
    card.supported_interfaces.extend(wanted)
    headers = {"Authorization": f"Bearer {question['token']}"}
    if question["version"] == "0.3":
        headers["A2A-Version"] = "0.3"
    async with httpx.AsyncClient(headers=headers) as http:
        config = ClientConfig(
            httpx_client=http,
            streaming=question["streaming"],
            supported_protocol_bindings=[question["binding"]],
        )
        client = ClientFactory(config).create(card)
        answer = {"urls": urls, "orders": []}
        if question.get("task"):
            answer["stranger"] = await told(get(client, question["task"]))
        for amount in question["amounts"]:
            answer["orders"].append(await told(order(client, amount)))
        task = answer["orders"][0]["task"] if "task" in answer["orders"][0] else None
        if task:
            answer["got"] = await told(get(client, task))
            answer["again"] = await told(order(client, question["amounts"][0], task))
            if question["version"] == "1.0":
                answer["listed"] = await told(listed(client))
            if question.get("cancel"):
                answer["canceled"] = await told(cancel(client, task))
        return answer


print(json.dumps(asyncio.run(main(json.loads(sys.stdin.readline())))), flush=True)
