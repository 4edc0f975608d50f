"""A client by the official SDK for Python: one line says where and what to call, one line what came of it.

    {"url", "token", "mode", "calls": [[tool, arguments], ...], "read": uri}
"""

import asyncio
import json
import sys

from mcp import Client, MCPError
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client


async def main(question):
    http = create_mcp_http_client(headers={"Authorization": f"Bearer {question['token']}"})
    transport = streamable_http_client(question["url"], http_client=http)
    async with Client(transport, mode=question["mode"]) as client:
        results = []
        for name, arguments in question["calls"]:
            try:
                results.append({"text": (await client.call_tool(name, arguments)).content[0].text})
            except MCPError as error:
                results.append({"code": error.error.code, "data": error.error.data})
        tools = await client.list_tools()
        resource = await client.read_resource(question["read"])
        return {
            "version": client.protocol_version,
            "tools": [tool.name for tool in tools.tools],
            "results": results,
            "read": resource.contents[0].text,
        }


print(json.dumps(asyncio.run(main(json.loads(sys.stdin.readline())))), flush=True)
