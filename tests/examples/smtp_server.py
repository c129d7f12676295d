"""An SMTP server on loopback that is as difficult as real ones: FOLDER

Prints its port, and stores each mail that it accepts as a file of FOLDER. What it does with a mail is said by the
part of the recipient's address before the '@':
    refused...   550 at RCPT
    busy...      451 at RCPT the first time, then accepted
    dropped...   the connection ends after DATA the first time, then accepted
    lost...      the connection ends after DATA, every time
    together...  RCPT is answered when as many as TOGETHER of these wait for it at the same time
"""
import asyncio
import json
import os
import sys

from aiosmtpd.smtp import SMTP

TOGETHER = 4


class Rules:
    """What is true for all connections."""

    def __init__(self, folder):
        self.folder, self.stored, self.seen, self.waiting = folder, 0, set(), 0
        self.enough = asyncio.Event()

    def first_time(self, address):
        return address not in self.seen and not self.seen.add(address)

    async def handle_RCPT(self, _server, _session, envelope, address, _options):
        if address.startswith('refused'):
            return '550 5.1.1 No such user here'
        if address.startswith('busy') and self.first_time(address):
            return '451 4.3.2 Try again later'
        if address.startswith('together'):
            self.waiting += 1
            if self.waiting == TOGETHER:
                self.enough.set()
            await self.enough.wait()
        envelope.rcpt_tos.append(address)
        return '250 OK'

    async def handle_DATA(self, _server, _session, envelope):
        self.stored += 1
        mail = {'from': envelope.mail_from, 'to': envelope.rcpt_tos, 'text': envelope.content.decode()}
        with open(os.path.join(self.folder, f'{self.stored}.json'), 'x') as file:
            json.dump(mail, file)
        return '250 OK'

    def breaks(self, address):
        return address.startswith('lost') or address.startswith('dropped') and self.first_time(address)


class Server(SMTP):
    async def smtp_DATA(self, arg):
        if any(self.event_handler.breaks(address) for address in self.envelope.rcpt_tos):
            await self.push('354 Go on')
            self.transport.abort()
        else:
            await super().smtp_DATA(arg)


async def main(folder):
    rules = Rules(folder)
    server = await asyncio.get_running_loop().create_server(
        lambda: Server(rules, enable_SMTPUTF8=True, hostname='localhost'), '127.0.0.1', 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main(sys.argv[1]))
