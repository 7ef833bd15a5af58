"""An application with Django's ORM on the view chatcrypt.messages: nothing in it knows of chatcrypt
but the name of the table, act_as(), and put_messages() in the place of an upsert.

PGHOST, PGPORT, PGDATABASE and PGUSER say where; CHAT and OTHER_CHAT are chats of alice and bob, and
of carol."""
import os
import uuid
from contextlib import contextmanager
from datetime import timedelta

import django
from django.conf import settings

from tap import run, situation

settings.configure(
    DATABASES={'default': {
        'ENGINE': 'django.db.backends.postgresql',
        'HOST': os.environ['PGHOST'], 'PORT': os.environ['PGPORT'],
        'NAME': os.environ['PGDATABASE'], 'USER': os.environ['PGUSER'],
        'DISABLE_SERVER_SIDE_CURSORS': True,
    }},
    USE_TZ=True,
)
django.setup()

from django.db import DatabaseError, connection, models, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

CHAT = uuid.UUID(os.environ['CHAT'])
OTHER_CHAT = uuid.UUID(os.environ['OTHER_CHAT'])


class Message(models.Model):
    message_id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    chat_id = models.UUIDField()
    sender = models.TextField(null=True)
    body = models.TextField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        app_label = 'app'
        managed = False
        db_table = 'messages'


@contextmanager
def acting_as(actor):
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute('SELECT chatcrypt.act_as(%s)', [actor])
        yield


def alice():
    return acting_as('alice')


def message(body, **fields):
    return Message(**{'chat_id': CHAT, 'sender': 'alice', 'body': body, **fields})


@situation('Django creates a message and reads it back')
def _():
    with alice():
        made = message('hello')
        made.save(force_insert=True)
    with alice():
        assert Message.objects.get(pk=made.pk).body == 'hello'


@situation('Django creates a message whose id it chose with save() alone')
def _():
    with alice():
        made = message('saved', message_id=uuid.uuid4())
        made.save()
        assert Message.objects.filter(pk=made.pk, body='saved').count() == 1


@situation('Django creates many messages at once')
def _():
    with alice():
        Message.objects.bulk_create([message(f'bulk {n}') for n in range(120)], batch_size=50)
        bodies = set(Message.objects.filter(chat_id=CHAT, body__startswith='bulk ').values_list('body', flat=True))
        assert bodies == {f'bulk {n}' for n in range(120)}


@situation('get_or_create() of Django creates once and gets afterwards')
def _():
    key = uuid.uuid4()
    fields = {'chat_id': CHAT, 'sender': 'alice', 'body': 'once'}
    with alice():
        assert Message.objects.get_or_create(message_id=key, defaults=fields)[1] is True
    with alice():
        found, made = Message.objects.get_or_create(message_id=key, defaults={**fields, 'body': 'twice'})
        assert (found.body, made) == ('once', False)


@situation('update_or_create() of Django creates and then updates')
def _():
    key = uuid.uuid4()
    fields = {'chat_id': CHAT, 'sender': 'alice', 'body': 'first'}
    with alice():
        assert Message.objects.update_or_create(message_id=key, defaults=fields)[1] is True
        found, made = Message.objects.update_or_create(message_id=key, defaults={'body': 'second'})
        assert (found.body, made) == ('second', False)
    with alice():
        assert Message.objects.get(pk=key).body == 'second'


@situation('Django updates an instance and a query set')
def _():
    with alice():
        made = message('before')
        made.save(force_insert=True)
        made.body = 'after'
        made.save(update_fields=['body'])
        later = timezone.now() + timedelta(days=1)
        assert Message.objects.filter(pk=made.pk).update(expires_at=later) == 1
        made.refresh_from_db()
        assert (made.body, made.expires_at) == ('after', later)


@situation('select_for_update() of Django holds a message until the end of the transaction')
def _():
    with alice():
        made = message('held')
        made.save(force_insert=True)
        held = Message.objects.select_for_update().get(pk=made.pk)
        held.body += ' and changed'
        held.save(update_fields=['body'])
        assert Message.objects.get(pk=made.pk).body == 'held and changed'


@situation('bulk_create(ignore_conflicts=True) of Django skips a message that exists already')
def _():
    with alice():
        there = message('there')
        there.save(force_insert=True)
        again = message('again', message_id=there.pk)
        fresh = message('fresh')
        Message.objects.bulk_create([again, fresh], ignore_conflicts=True)
        assert Message.objects.get(pk=there.pk).body == 'there'
        assert Message.objects.get(pk=fresh.pk).body == 'fresh'


@situation('an upsert of Django fails with a hint that names put_messages(), and put_messages() does it')
def _():
    with alice():
        there = message('old')
        there.save(force_insert=True)
    try:
        with alice():
            Message.objects.bulk_create([message('new', message_id=there.pk)], update_conflicts=True,
                                        unique_fields=['message_id'], update_fields=['body'])
        raise AssertionError('the upsert did not fail')
    except DatabaseError as error:
        assert 'put_message' in str(error), error
    with alice(), connection.cursor() as cursor:
        cursor.execute(PUT_MESSAGES, [[str(CHAT)] * 2, [str(there.pk), str(uuid.uuid4())], ['new', 'another']])
        assert Message.objects.get(pk=there.pk).body == 'new'


PUT_MESSAGES = 'SELECT chatcrypt.put_messages(%s, %s, %s)'


@situation('Django pages through a chat, by offset and by key')
def _():
    with alice():
        newest = Message.objects.filter(chat_id=CHAT).order_by('-created_at', '-message_id')
        first, second = list(newest[:10]), list(newest[10:20])
        assert len(first) == len(second) == 10
        last = first[-1]
        by_key = newest.filter(models.Q(created_at__lt=last.created_at)
                               | models.Q(created_at=last.created_at, message_id__lt=last.pk))[:10]
        assert [m.pk for m in by_key] == [m.pk for m in second]


@situation('a savepoint of Django that is rolled back takes back its message and no other')
def _():
    with alice():
        kept = message('kept')
        kept.save(force_insert=True)
        try:
            with transaction.atomic():
                message('lost').save(force_insert=True)
                raise ValueError
        except ValueError:
            pass
        assert Message.objects.filter(chat_id=CHAT, body='lost').count() == 0
        assert Message.objects.get(pk=kept.pk).body == 'kept'


@situation('a duplicate inside a savepoint of Django leaves the transaction usable')
def _():
    with alice():
        made = message('unique')
        made.save(force_insert=True)
        try:
            with transaction.atomic():
                message('duplicate', message_id=made.pk).save(force_insert=True)
            raise AssertionError('the duplicate was taken')
        except django.db.IntegrityError:
            pass
        assert Message.objects.get(pk=made.pk).body == 'unique'


@situation('Django sees only the chats of its actor, which each transaction names anew')
def _():
    with alice():
        assert set(Message.objects.values_list('chat_id', flat=True)) == {CHAT}
    with acting_as('carol'):
        assert set(Message.objects.values_list('chat_id', flat=True)) == {OTHER_CHAT}


@situation('Django without an actor sees nothing and writes nothing')
def _():
    assert seen_without_actor() == 0
    try:
        message('nobody').save(force_insert=True)
        raise AssertionError('a message was written for nobody')
    except DatabaseError:
        pass


def seen_without_actor():
    try:
        return Message.objects.count()
    except DatabaseError:
        return 0


@situation('Django deletes an instance and a query set')
def _():
    with alice():
        made = message('short-lived')
        made.save(force_insert=True)
        made.delete()
        assert not Message.objects.filter(pk=made.message_id or uuid.uuid4()).exists()
        assert Message.objects.filter(chat_id=CHAT, body__startswith='bulk ').delete()[0] == 120


run()
