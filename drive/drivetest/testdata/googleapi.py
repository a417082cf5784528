"""The Drive API as Google's own Python client speaks it, against the emulator.

Run by TestPythonClient with the emulator's root address, a directory of credentials and, if the client
is not to build itself from the emulator's own discovery document, the path of Google's. Each test stands
for itself; unittest's exit code tells whether all passed.
"""
import base64
import hashlib
import io
import json
import os
import struct
import sys
import unittest
import urllib.parse
import urllib.request
import zlib

import httplib2
from googleapiclient.discovery import build, build_from_document
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseDownload, MediaIoBaseUpload, build_http

ROOT, CREDENTIALS, DOCUMENT = sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None
KIB = 1024
FOLDER = 'application/vnd.google-apps.folder'
BINARY = 'application/octet-stream'


def debug(method, page, body=''):
    """Talk to the emulator's debug pages."""
    request = urllib.request.Request(ROOT + '/debug/' + page, body.encode() or None, method=method)
    with urllib.request.urlopen(request) as response:
        content = response.read()
    return json.loads(content) if content else None


def requests():
    return debug('GET', 'requests')


class Bearer:
    """An http object that signs each request; 308 is left to the uploader."""

    def __init__(self, token):
        self.http, self.token = build_http(), token

    def request(self, uri, method='GET', body=None, headers=None, **kwargs):
        headers = dict(headers or {}, authorization='Bearer ' + self.token)
        return self.http.request(uri, method, body=body, headers=headers, **kwargs)

    def close(self):
        for connection in self.http.connections.values():
            connection.close()


def token():
    with open(os.path.join(CREDENTIALS, 'token.json')) as f:
        return json.load(f)


def client_secrets():
    with open(os.path.join(CREDENTIALS, 'client_secrets.json')) as f:
        return json.load(f)['installed']


def service(http):
    if DOCUMENT:
        with open(DOCUMENT) as f:
            document = json.load(f)
        document.update(rootUrl=ROOT + '/', baseUrl=ROOT + '/drive/v3/', mtlsRootUrl='')
        return build_from_document(document, http=http)
    return build('drive', 'v3', http=http, cache_discovery=False,
                 discoveryServiceUrl=ROOT + '/discovery/v1/apis/{api}/{apiVersion}/rest')


def noise(n, seed=b'x'):
    """n bytes that differ everywhere."""
    out = bytearray()
    while len(out) < n:
        seed = hashlib.sha256(seed).digest()
        out += seed * 64
        out[-1] ^= len(out) & 0xff
    return bytes(out[:n])


def png(width, height):
    """A grey picture."""
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    rows = b''.join(b'\0' + b'\x80' * width for _ in range(height))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)) +
            chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))


class Drive(unittest.TestCase):
    def setUp(self):
        debug('DELETE', 'faults')
        debug('DELETE', 'requests')
        self.http = Bearer(token()['access_token'])
        self.addCleanup(self.http.close)
        self.drive = service(self.http)

    def upload(self, body, content, chunk=256 * KIB, fields='id,name,size,md5Checksum,properties'):
        media = MediaIoBaseUpload(io.BytesIO(content), mimetype=BINARY, chunksize=chunk, resumable=True)
        request = self.drive.files().create(body=body, media_body=media, fields=fields)
        response = None
        while response is None:
            _, response = request.next_chunk()
        return response

    def image(self, name, content=b'image', folder=None, **properties):
        body = {'name': name, 'mimeType': BINARY, 'properties': dict(properties, type='container')}
        if folder:
            body['parents'] = [folder]
        return self.upload(body, content)

    def folder(self, name):
        return self.drive.files().create(body={'name': name, 'mimeType': FOLDER}, fields='id').execute()['id']

    def content(self, file_id, chunk=1024 * KIB):
        out = io.BytesIO()
        download = MediaIoBaseDownload(out, self.drive.files().get_media(fileId=file_id), chunksize=chunk)
        done = False
        while not done:
            _, done = download.next_chunk()
        return out.getvalue()

    def test_resumable_chunks(self):
        content = noise(700 * KIB + 11)
        got = self.upload({'name': 'chunks'}, content)
        self.assertEqual(got['size'], str(len(content)))
        self.assertEqual(got['md5Checksum'], hashlib.md5(content).hexdigest())
        ranges = [r['ContentRange'] for r in requests() if r['Op'] == 'upload.chunk']
        self.assertEqual(ranges, ['bytes 0-262143/716811', 'bytes 262144-524287/716811', 'bytes 524288-716810/716811'])
        self.assertEqual(self.content(got['id']), content)

    def test_resumable_interrupted(self):
        content = noise(2048 * KIB + 5, b'interrupted')
        media = MediaIoBaseUpload(io.BytesIO(content), mimetype=BINARY, chunksize=512 * KIB, resumable=True)
        request = self.drive.files().create(body={'name': 'interrupted'}, media_body=media, fields='id,size,md5Checksum')
        status, response = request.next_chunk()
        self.assertIsNone(response)
        self.assertEqual(status.resumable_progress, 512 * KIB)
        # The connection breaks within the second chunk, as often as httplib2 tries by itself: of the
        # 300,000 bytes that arrive one step of 256 KiB is kept.
        debug('POST', 'faults', 'PUT /upload/* cut-request=300000')
        with self.assertRaises(Exception) as broken:
            while True:
                request.next_chunk()
        self.assertNotIsInstance(broken.exception, (HttpError, AssertionError))
        self.assertGreaterEqual(debug('GET', 'faults')[0]['hits'], 1)
        debug('DELETE', 'faults')
        # An error of the server, too.
        debug('POST', 'faults', 'PUT /upload/* nth=2 status=503 reason=backendError')
        response, failures = None, 0
        while response is None:
            try:
                _, response = request.next_chunk()
            except HttpError as e:
                self.assertEqual(e.resp.status, 503)
                failures += 1
        self.assertEqual(failures, 1)
        self.assertEqual(response['size'], str(len(content)))
        self.assertEqual(response['md5Checksum'], hashlib.md5(content).hexdigest())
        self.assertIn('bytes */%d' % len(content), [r['ContentRange'] for r in requests()])
        self.assertEqual(self.content(response['id']), content)

    def test_zero_bytes(self):
        got = self.upload({'name': 'nothing'}, b'')
        self.assertEqual(got['size'], '0')
        self.assertEqual(got['md5Checksum'], 'd41d8cd98f00b204e9800998ecf8427e')
        self.assertIn('bytes 0--1/0', [r['ContentRange'] for r in requests()])

    def test_whole_in_one_chunk(self):
        content = noise(300 * KIB + 1, b'whole')
        got = self.upload({'name': 'whole'}, content, chunk=100 * 1024 * KIB)
        self.assertEqual(self.content(got['id']), content)

    def test_multipart(self):
        content = bytes(range(256)) * 40
        media = MediaIoBaseUpload(io.BytesIO(content), mimetype='image/x-thing', resumable=False)
        got = self.drive.files().create(body={'name': 'multi'}, media_body=media, fields='*').execute()
        self.assertEqual((got['name'], got['mimeType'], got['size']), ('multi', 'image/x-thing', str(len(content))))
        self.assertEqual(self.content(got['id']), content)

    def test_new_content(self):
        got = self.image('new-content', b'old', uri='a/b:c')
        media = MediaIoBaseUpload(io.BytesIO(b'newer'), mimetype=BINARY, chunksize=256 * KIB, resumable=True)
        again = self.drive.files().update(fileId=got['id'], media_body=media, fields='id,size,properties').execute()
        self.assertEqual(again, {'id': got['id'], 'size': '5', 'properties': {'type': 'container', 'uri': 'a/b:c'}})
        self.assertEqual(self.content(got['id']), b'newer')

    def test_ranged_download(self):
        content = noise(1000001, b'ranged')
        got = self.upload({'name': 'ranged'}, content, chunk=1024 * KIB)
        debug('DELETE', 'requests')
        self.assertEqual(self.content(got['id'], chunk=200000), content)
        media = [r for r in requests() if r['Op'] == 'media']
        self.assertEqual(media[0]['Range'], 'bytes=0-200000')
        self.assertEqual({r['Status'] for r in media}, {206})
        self.assertEqual(sum(r['Out'] for r in media), len(content))

    def test_range_past_the_end(self):
        got = self.upload({'name': 'short'}, b'12345')
        address = '%s/drive/v3/files/%s?alt=media' % (ROOT, got['id'])
        response, content = self.http.request(address, headers={'range': 'bytes=2-'})
        self.assertEqual((response.status, content, response['content-range']), (206, b'345', 'bytes 2-4/5'))
        response, content = self.http.request(address, headers={'range': 'bytes=5-9'})
        self.assertEqual(response.status, 416)
        self.assertEqual(json.loads(content)['error']['errors'][0]['reason'], 'requestedRangeNotSatisfiable')

    def test_registry_queries(self):
        """The requests of the registry tool, word for word."""
        files = self.drive.files()
        name = "it's a \\ registry"
        query = "mimeType='%s' and name='%s'" % (FOLDER, name.replace('\\', '\\\\').replace("'", "\\'"))
        self.assertEqual(files.list(q=query, spaces='drive').execute()['files'], [])
        root = files.create(body={'name': name, 'mimeType': FOLDER}, fields='id').execute()
        self.assertEqual(list(root), ['id'])
        self.assertEqual([f['id'] for f in files.list(q=query, spaces='drive').execute()['files']], [root['id']])

        digest = hashlib.sha256(b'image').hexdigest()
        uri = 'vsoch/hello:latest@' + digest
        properties = {'collection': 'vsoch', 'original': 'vsoch/hello', 'registry': None, 'image': 'hello', 'url': 'vsoch/hello',
                      'tag': 'latest', 'version': digest, 'storage': uri + '.sif', 'uri': uri, 'type': 'container',
                      'org.label-schema.build-size': '5MB'}
        made = self.upload({'name': uri + '.sif', 'mimeType': BINARY, 'parents': [root['id']], 'properties': properties},
                           b'image', chunk=104857600, fields='id')
        self.assertEqual(list(made), ['id'])
        picture = {'contentHints': {'thumbnail': {'image': base64.urlsafe_b64encode(png(220, 220)).decode(), 'mimeType': 'image/png'}}}
        self.assertEqual(files.update(fileId=made['id'], body=picture).execute()['name'], uri + '.sif')

        for i in range(105):  # beyond one page
            files.create(body={'name': 'c/i:%d' % i, 'mimeType': BINARY, 'parents': [root['id']],
                               'properties': {'type': 'container', 'uri': 'c/i:%d' % i}}, fields='id').execute()
        files.create(body={'name': 'no image', 'mimeType': BINARY, 'parents': [root['id']]}).execute()
        query = "mimeType='%s' and properties has { key='type' and value='container' } and '%s' in parents" % (BINARY, root['id'])
        found, page, pages = [], None, 0
        while True:
            reply = files.list(q=query, spaces='drive', fields='nextPageToken, files(id, name, properties)', pageToken=page).execute()
            found += reply.get('files', [])
            page, pages = reply.get('nextPageToken'), pages + 1
            if page is None:
                break
        self.assertEqual((len(found), pages), (106, 2))
        mine = [f for f in found if f['id'] == made['id']]
        del properties['registry']
        self.assertEqual(mine, [{'id': made['id'], 'name': uri + '.sif', 'properties': properties}])
        self.assertEqual(self.content(made['id'], chunk=104857600), b'image')
        discovery = [r for r in requests() if r['Path'].startswith('/discovery/')]
        self.assertEqual([r['Status'] for r in discovery], [] if DOCUMENT else [200])

    def test_null_removes_a_property(self):
        got = self.image('nulls', uri='a/b:c', tag='c')
        again = self.drive.files().update(fileId=got['id'], body={'properties': {'uri': None, 'more': '1'}}, fields='properties').execute()
        self.assertEqual(again, {'properties': {'type': 'container', 'tag': 'c', 'more': '1'}})

    def test_property_too_long(self):
        with self.assertRaises(HttpError) as refused:
            self.image('long', uri='x' * 122)
        self.assertEqual(refused.exception.resp.status, 403)
        self.assertIn(b'propertyLengthLimitExceeded', refused.exception.content)

    def test_batch_share(self):
        """Several shares in one body: LF line ends, a quoted boundary, ids with a blank and a plus."""
        ids = [self.image('batch %d' % i)['id'] for i in range(3)]
        answers = {}

        def answered(request_id, response, exception):
            answers[request_id] = exception or response

        batch = self.drive.new_batch_http_request(callback=answered)
        for i in ids + ['nowhere']:
            batch.add(self.drive.permissions().create(
                fileId=i, fields='id', body={'type': 'user', 'role': 'reader', 'emailAddress': 'bob@uni.edu'}), request_id=i)
        batch.execute(http=self.http)
        self.assertEqual(list(answers), ids + ['nowhere'])
        self.assertEqual(len({answers[i]['id'] for i in ids}), 1)
        self.assertEqual(answers['nowhere'].resp.status, 404)
        for i in ids:
            shared = self.drive.permissions().list(fileId=i, fields='permissions(emailAddress,role)').execute()['permissions']
            self.assertIn({'emailAddress': 'bob@uni.edu', 'role': 'reader'}, shared)

    def test_changes(self):
        changes = self.drive.changes()
        start = changes.getStartPageToken().execute()['startPageToken']
        kept, trashed, deleted = (self.image('changing %d' % i)['id'] for i in range(3))
        self.drive.files().update(fileId=trashed, body={'trashed': True}).execute()
        self.assertEqual(self.drive.files().delete(fileId=deleted).execute(), '')
        seen, page = {}, start
        while page:
            reply = changes.list(pageToken=page, pageSize=1, fields='nextPageToken,newStartPageToken,changes(fileId,removed,file(name,trashed))').execute()
            self.assertEqual(('nextPageToken' in reply) + ('newStartPageToken' in reply), 1)
            for change in reply.get('changes', []):
                self.assertNotIn(change['fileId'], seen)
                seen[change['fileId']] = change
            page = reply.get('nextPageToken')
        self.assertEqual(seen[kept]['file'], {'name': 'changing 0', 'trashed': False})
        self.assertEqual(seen[trashed]['file']['trashed'], True)
        self.assertEqual(seen[deleted], {'fileId': deleted, 'removed': True})
        reply = changes.list(pageToken=reply['newStartPageToken'], fields='*').execute()
        self.assertEqual(reply['changes'], [])

    def test_long_query(self):
        """A GET beyond 2048 bytes goes as a POST with its query in the body."""
        wanted = self.image('long query')
        terms = ["name = '%s'" % ('x%03d' % i * 10) for i in range(60)] + ["name = 'long query'"]
        found = self.drive.files().list(q='(' + ' or '.join(terms) + ') and trashed = false', fields='files(id)').execute()
        self.assertEqual(found['files'], [{'id': wanted['id']}])
        last = [r for r in requests() if r['Op'] == 'files.list'][-1]
        self.assertEqual(last['Method'], 'GET')
        self.assertGreater(len(urllib.parse.unquote(last['Query'])), 2048)

    def test_about(self):
        with self.assertRaises(HttpError) as refused:
            self.drive.about().get().execute()
        self.assertEqual(refused.exception.resp.status, 400)
        about = self.drive.about().get(fields='user,storageQuota').execute()
        self.assertEqual(about['user']['emailAddress'], 'ann@uni.edu')
        self.assertTrue(about['storageQuota']['usage'].isdigit())

    def test_generated_id(self):
        i = self.drive.files().generateIds(count=1).execute()['ids'][0]
        self.assertEqual(self.drive.files().create(body={'id': i, 'name': 'reserved'}, fields='id').execute()['id'], i)
        with self.assertRaises(HttpError) as refused:
            self.drive.files().create(body={'id': i, 'name': 'reserved'}).execute()
        self.assertEqual(refused.exception.resp.status, 409)

    def test_copy(self):
        got = self.image('original', b'to be copied', uri='a/b:c')
        copied = self.drive.files().copy(fileId=got['id'], body={'name': 'copy', 'properties': {'uri': 'a/b:d'}}, fields='id,properties').execute()
        self.assertEqual(copied['properties'], {'type': 'container', 'uri': 'a/b:d'})
        self.assertEqual(self.content(copied['id']), b'to be copied')


class SignIn(unittest.TestCase):
    def test_oauth2client_refreshes(self):
        """The library of the registry tool: a 401 makes it ask for a new token, once."""
        from oauth2client.client import OAuth2Credentials
        secrets = client_secrets()
        credentials = OAuth2Credentials('ya29.expired', secrets['client_id'], secrets['client_secret'], token()['refresh_token'],
                                        None, secrets['token_uri'], 'registry')
        http = credentials.authorize(build_http())
        about = service(http).about().get(fields='user').execute()
        self.assertEqual(about['user']['emailAddress'], 'ann@uni.edu')
        self.assertNotEqual(credentials.access_token, 'ya29.expired')

    def test_google_auth_refreshes(self):
        """The library that came after it."""
        import google_auth_httplib2
        from google.oauth2.credentials import Credentials
        secrets = client_secrets()
        credentials = Credentials('ya29.expired', refresh_token=token()['refresh_token'], token_uri=secrets['token_uri'],
                                  client_id=secrets['client_id'], client_secret=secrets['client_secret'])
        http = google_auth_httplib2.AuthorizedHttp(credentials, http=build_http())
        self.assertIn('user', service(http).about().get(fields='user').execute())
        self.assertTrue(credentials.valid)
        self.assertNotEqual(credentials.token, 'ya29.expired')

    def test_service_account(self):
        import google_auth_httplib2
        from google.oauth2.service_account import Credentials
        key = os.path.join(CREDENTIALS, 'service.json')
        credentials = Credentials.from_service_account_file(key, scopes=['https://www.googleapis.com/auth/drive'])
        http = google_auth_httplib2.AuthorizedHttp(credentials, http=build_http())
        about = service(http).about().get(fields='user').execute()
        self.assertTrue(about['user']['emailAddress'].endswith('.gserviceaccount.com'))


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=2)
