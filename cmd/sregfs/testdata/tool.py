"""The requests of the registry tool's Google Drive client, release 0.2.39, sent by Google's own Python library.

usage: tool.py DRIVE TOKEN VERB [ARGUMENT...]

Each verb sends what that tool sends, in its order, and prints what it would find: see the comments. It is not the
tool: only the requests, the fields they ask for, and what is read from the replies, are the same.
"""
import base64, hashlib, io, json, struct, sys, zlib

import httplib2
from googleapiclient.discovery import build_from_document
from googleapiclient.http import MediaFileUpload, MediaIoBaseDownload

FOLDER, BINARY = 'application/vnd.google-apps.folder', 'application/octet-stream'
CHUNK = 100 * 1024 * 1024


class Bearer(httplib2.Http):
    """An authorized transport that takes a 308 for what it is."""

    def __init__(self, token):
        super().__init__(timeout=60)
        self.token = token
        self.redirect_codes = set(self.redirect_codes) - {308}

    def request(self, uri, method='GET', body=None, headers=None, **kwargs):
        headers = dict(headers or {}, Authorization='Bearer ' + self.token)
        return super().request(uri, method=method, body=body, headers=headers, **kwargs)


def service(drive, token):
    http = Bearer(token)
    # Every command of the tool begins with the discovery document.
    response, document = http.request(drive + '/discovery/v1/apis/drive/v3/rest')
    assert response.status == 200, response
    return build_from_document(json.loads(document), http=http)


def folder(files, name='sregistry'):
    query = "mimeType='%s' and name='%s'" % (FOLDER, name)
    found = files.list(q=query, spaces='drive').execute().get('files', [])
    if found:
        return found[0]['id']
    return files.create(body={'name': name, 'mimeType': FOLDER}, fields='id').execute()['id']


def listing(files, root):
    query = "mimeType='%s' and properties has { key='type' and value='container' } and '%s' in parents" % (BINARY, root)
    token = None
    while True:
        page = files.list(q=query, spaces='drive', fields='nextPageToken, files(id, name, properties)', pageToken=token).execute()
        for f in page.get('files', []):
            # A file without the property uri is shown by its name.
            if 'uri' not in f['properties']:
                f['properties']['uri'] = f['name'].replace('.simg', '')
            yield f
        token = page.get('nextPageToken')
        if token is None:
            return


def matches(files, root, query):
    """Substring of the id, the name, or the value of any property; in the order of the listing."""
    for f in listing(files, root):
        if query in f['id'] or query in f['name'] or any(query in v for v in f['properties'].values()):
            yield f


def search(files, batch, query=None):
    root = folder(files)
    for f in matches(files, root, query) if query else listing(files, root):
        print(f['id'], f['properties']['uri'])


def push(files, batch, path, uri, *labels):
    """uri is collection/image:tag; the version is the SHA-256, as since release 0.2.23."""
    root = folder(files)
    with open(path, 'rb') as f:
        version = hashlib.file_digest(f, 'sha256').hexdigest()
    name, tag = uri.split(':')
    collection, image = name.split('/')
    full = uri + '@' + version
    properties = dict(collection=collection, original=uri, registry=None, image=image, url=name, tag=tag, version=version,
                      storage=full + '.sif', uri=full, type='container')
    properties.update(l.split('=', 1) for l in labels)
    media = MediaFileUpload(path, mimetype=BINARY, chunksize=CHUNK, resumable=True)
    request = files.create(body={'name': full + '.sif', 'mimeType': BINARY, 'parents': [root], 'properties': properties},
                           media_body=media, fields='id')
    response = None
    while response is None:
        _, response = request.next_chunk()
    picture = base64.urlsafe_b64encode(png(220, 220)).decode()
    done = files.update(fileId=response['id'], body={'contentHints': {'thumbnail': {'image': picture, 'mimeType': 'image/png'}}}).execute()
    print(done['name'])


def png(width, height):
    """A grey picture."""
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    rows = b''.join(b'\0' + b'\x80' * width for _ in range(height))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)) +
            chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))


def pull(files, batch, query, path):
    found = next(matches(files, folder(files), query), None)
    if found is None:
        sys.exit('No matching containers found.')
    with io.FileIO(path, 'wb') as out:
        download = MediaIoBaseDownload(out, files.get_media(fileId=found['id']), chunksize=CHUNK)
        done = False
        while not done:
            _, done = download.next_chunk()
    print(found['properties']['uri'])


def share(files, batch, query, email, permissions=None):
    found = next(matches(files, folder(files), query), None)
    if found is None:
        sys.exit('Cannot find a remote image matching ' + query)

    def callback(_, response, exception):
        if exception is not None:
            sys.exit(str(exception))
        print('Share to %s complete: %s!' % (email, response['id']))

    b = batch(callback=callback)
    b.add(permissions.create(fileId=found['id'], body={'type': 'user', 'role': 'reader', 'emailAddress': email}, fields='id'))
    b.execute()


if __name__ == '__main__':
    drive, token, verb, *arguments = sys.argv[1:]
    api = service(drive, token)
    verbs = {'search': search, 'push': push, 'pull': pull, 'share': share}
    extra = {'permissions': api.permissions()} if verb == 'share' else {}
    verbs[verb](api.files(), api.new_batch_http_request, *arguments, **extra)
