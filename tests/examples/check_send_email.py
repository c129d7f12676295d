"""send_email delivers each mail that the server accepts exactly once, and tells which were refused: SEND_EMAIL"""
import collections
import importlib.util
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import unittest

import program

if importlib.util.find_spec('aiosmtpd') is None:
    program.skip_all('python3-aiosmtpd is not installed')

SEND_EMAIL = program.program()
FROM = 'runium@example.org'
SERVER = pathlib.Path(__file__).with_name('smtp_server.py')


def addresses(kind, count):
    return [f'{kind}{number}@example.org' for number in range(count)]


class SendEmail(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix='send_email.')
        self.addCleanup(self.folder.cleanup)
        self.server = subprocess.Popen([sys.executable, SERVER, self.folder.name], stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.stop_server)
        self.url = f'smtp://127.0.0.1:{int(self.server.stdout.readline())}'

    def stop_server(self):
        self.server.terminate()
        self.server.communicate()

    def send(self, *to, url=None):
        return program.run(SEND_EMAIL, url or self.url, FROM, *to)

    def mails(self):
        return [json.loads(file.read_text()) for file in pathlib.Path(self.folder.name).iterdir()]

    def assert_delivered_once(self, expected):
        delivered = collections.Counter(address for mail in self.mails() for address in mail['to'])
        self.assertEqual(delivered, {address: 1 for address in expected})

    def test_every_accepted_mail_arrives_exactly_once(self):
        fine, refused, busy, dropped, lost = (
            addresses(kind, count) for kind, count in
            (('fine', 20), ('refused', 3), ('busy', 2), ('dropped', 2), ('lost', 1)))
        done = self.send(*fine[:10], *refused, *busy, *dropped, *lost, *fine[10:])
        self.assert_delivered_once(fine + busy + dropped)
        printed = done.stdout.splitlines()
        expected = [f'{to}: Email sent.' for to in fine + busy + dropped]
        expected += [f'{to}: finished, the first attempt succeeded' for to in fine]
        expected += [f'{to}: finished, the first attempt failed' for to in refused + busy + dropped + lost]
        expected += [f'{to}: refused: 550 5.1.1 No such user here' for to in refused]
        expected += [f'{to}: not sent: 451 4.3.2 Try again later; trying once more' for to in busy]
        self.assertEqual(collections.Counter(expected) - collections.Counter(printed), {})
        self.assertEqual(printed[-1], '24 of 28 mails sent, in 33 attempts')
        for to in dropped + lost:
            self.assertRegex(done.stdout, rf'(?m)^{to}: not sent: \w.*; trying once more$')
        self.assertRegex(done.stdout, rf'(?m)^{lost[0]}: given up: \w')
        self.assertEqual((done.returncode, done.stderr), (1, ''))

    def test_success_is_the_exit_status_0(self):
        done = self.send(*addresses('fine', 3))
        self.assert_delivered_once(addresses('fine', 3))
        self.assertEqual((done.returncode, done.stderr), (0, ''))

    def test_a_mail_has_its_sender_its_recipient_and_a_message_id(self):
        self.send(*addresses('fine', 2))
        mails = self.mails()
        for mail in mails:
            self.assertEqual(mail['from'], FROM)
            self.assertIn(f'To: <{mail["to"][0]}>\r\n', mail['text'])
            self.assertRegex(mail['text'], r'\r\nMessage-ID: <[0-9a-f]{32}@example.org>\r\n')
        self.assertEqual(len({mail['text'] for mail in mails}), 2)

    def test_mails_are_sent_at_the_same_time(self):
        """The server answers none of the four before all of them have asked."""
        done = self.send(*addresses('together', 4))
        self.assert_delivered_once(addresses('together', 4))
        self.assertEqual(done.returncode, 0)

    def test_a_server_that_is_not_there_is_told(self):
        with socket.socket() as nobody_listens:
            nobody_listens.bind(('127.0.0.1', 0))
            url = f'smtp://127.0.0.1:{nobody_listens.getsockname()[1]}'
            done = self.send('fine@example.org', url=url)
        self.assertRegex(done.stdout, r'fine@example.org: given up: .*onnect')
        self.assertRegex(done.stdout, r'\n0 of 1 mails sent, in 2 attempts\n$')
        self.assertEqual(done.returncode, 1)

    def test_a_wrong_argument_is_told_and_nothing_is_sent(self):
        forged = 'fine@example.org>\r\nRCPT TO:<other@example.org'
        for arguments in ([], [self.url], [self.url, FROM], ['http://127.0.0.1', FROM, 'fine@example.org'],
                          [self.url, FROM, forged], [self.url, FROM, 'fine@example.org', 'nobody'],
                          [self.url, 'a b@example.org', 'fine@example.org']):
            with self.subTest(arguments=arguments):
                done = program.run(SEND_EMAIL, *arguments)
                self.assertEqual((done.returncode, done.stdout), (2, ''))
                self.assertRegex(done.stderr, r'^(usage: )?send_email')
        self.assert_delivered_once([])


program.main()
