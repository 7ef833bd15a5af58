"""An application with Django's ORM on a table of its own, message: nothing in it knows of chatcrypt.
PGHOST, PGPORT, PGDATABASE and PGUSER say where."""
import os

import django
from django.conf import settings

from shown import error_of, show

settings.configure(
    DATABASES={'default': {
        'ENGINE': 'django.db.backends.postgresql',
        'HOST': os.environ['PGHOST'], 'PORT': os.environ['PGPORT'],
        'NAME': os.environ['PGDATABASE'], 'USER': os.environ['PGUSER'],
    }},
    USE_TZ=True,
)
django.setup()

from django.db import connection, models, transaction  # noqa: E402
from django.db.models import Count, Exists, F, Max, OuterRef, Q, Subquery, Value, Window  # noqa: E402
from django.db.models.functions import Concat, Length, Lower, RowNumber, Substr, Upper  # noqa: E402


class Chat(models.Model):
    id = models.BigIntegerField(primary_key=True)
    topic = models.TextField()

    class Meta:
        app_label, managed, db_table = 'app', False, 'chat'


class Message(models.Model):
    chat = models.ForeignKey(Chat, on_delete=models.CASCADE)
    body = models.TextField(null=True)
    likes = models.IntegerField(default=0)

    class Meta:
        app_label, managed, db_table = 'app', False, 'message'


ALL = Message.objects.order_by('id')


def rows(query=ALL):
    return list(query.values_list('id', 'chat_id', 'body', 'likes'))


show('what is there', rows())
made = Message.objects.create(chat_id=1, body='secret made')
show('create', [made.id, made.body, Message.objects.get(pk=made.pk).body])
show('bulk_create', [m.id for m in Message.objects.bulk_create([Message(chat_id=1 + n % 3, body=f'secret bulk {n}') for n in range(30)])])
show('bulk_create passes over what is there', [
    m.body for m in Message.objects.bulk_create([Message(id=1, chat_id=1, body='again'), Message(id=500, chat_id=1, body='secret 500')], ignore_conflicts=True)])
show('bulk_create updates what is there', [
    m.body for m in Message.objects.bulk_create([Message(id=1, chat_id=1, body='secret up'), Message(id=501, chat_id=2, body='secret 501')],
                                                update_conflicts=True, update_fields=['body'], unique_fields=['id'])])
show('rows after that', rows())
show('get_or_create', [Message.objects.get_or_create(body='secret bulk 3', defaults={'chat_id': 1})[1],
                       Message.objects.get_or_create(body='secret new', chat_id=2)[1]])
show('update_or_create', [
    [m.body, new] for m, new in (Message.objects.update_or_create(id=502, defaults={'chat_id': 3, 'body': body}) for body in ('secret one', 'secret two'))])
one = Message.objects.get(pk=2)
one.body += ' and saved'
one.save()
show('save', Message.objects.get(pk=2).body)
one.likes = 7
one.save(update_fields=['likes'])
one.refresh_from_db()
show('save of another field', [one.body, one.likes])
show('update of many', Message.objects.filter(chat_id=2).update(likes=F('likes') + 1))
show('update by an expression of the body', Message.objects.filter(id__lt=4).update(body=Concat('body', Value(' more'))))
some = list(Message.objects.filter(id__in=[4, 5]).order_by('id'))
for m in some:
    m.body = m.body.upper()
show('bulk_update', Message.objects.bulk_update(some, ['body', 'likes']))
show('update of the chat', Message.objects.filter(pk=6).update(chat=3))
show('rows after updates', rows())
for name, condition in {'exact': Q(body='secret 7'), 'iexact': Q(body__iexact='SECRET 7'), 'contains': Q(body__contains='bulk 1'), 'regex': Q(body__regex=r'\d{2}$'),
                        'in': Q(body__in=['secret 8', 'secret 9']), 'isnull': Q(body__isnull=True), 'range': Q(body__gt='secret bulk', body__lt='secret bulk 2'),
                        'empty': Q(body='')}.items():
    show(f'filter {name}', list(ALL.filter(condition).values_list('id', flat=True)))
show('order and slice', list(Message.objects.order_by('-body', 'id').values_list('body', flat=True)[5:12]))
show('distinct', list(Message.objects.values_list('body', flat=True).distinct().order_by('body')[:5]))
show('aggregate', Message.objects.aggregate(Count('body'), Max('body'), longest=Max(Length('body'))))
show('annotate', list(Message.objects.values('chat_id').annotate(n=Count('id'), last=Max('body')).order_by('chat_id')))
show('functions', list(ALL.annotate(up=Upper('body'), low=Lower('body'), part=Substr('body', 1, 4)).values_list('up', 'low', 'part')[:4]))
show('window', list(Message.objects.annotate(nth=Window(RowNumber(), partition_by='chat_id', order_by='body')).order_by('id').values_list('id', 'nth')[:8]))
newest = Message.objects.filter(chat=OuterRef('pk')).order_by('-id')
show('subquery and exists', list(Chat.objects.annotate(last=Subquery(newest.values('body')[:1]), any=Exists(newest.filter(body__contains='bulk'))).order_by('id').values_list()))
show('select_related', [(m.body, m.chat.topic) for m in ALL.select_related('chat')[:3]])
show('prefetch_related', [[m.body for m in sorted(c.message_set.all(), key=lambda m: m.id)[:2]] for c in Chat.objects.order_by('id').prefetch_related('message_set')])
show('iterator with a cursor of the server', [m.body for m in ALL.iterator(chunk_size=3)][:20])
show('only and defer', [[m.body for m in ALL.only('id')[:2]], [m.likes for m in ALL.defer('body')[:2]]])
show('union', list(Message.objects.filter(id=1).values_list('body').union(Message.objects.filter(id=2).values_list('body')).order_by('body')))
with transaction.atomic():
    held = Message.objects.select_for_update(skip_locked=True).get(pk=7)
    held.body += ' held'
    held.save()
    try:
        with transaction.atomic():
            Message.objects.filter(pk=8).update(body='lost')
            raise KeyError
    except KeyError:
        pass
show('select_for_update and savepoints', rows(ALL.filter(pk__in=[7, 8])))
show('an error of uniqueness', error_of(lambda: Message.objects.create(id=1, chat_id=1, body='double')))
show('raw', [m.body for m in Message.objects.raw('SELECT * FROM message WHERE body LIKE %s ORDER BY id', ['%held'])])
with connection.cursor() as cursor:
    cursor.execute('UPDATE message SET body = body || %s WHERE id = %s RETURNING body', ['!', 7])
    show('cursor', [cursor.fetchall(), cursor.rowcount])
    cursor.executemany('INSERT INTO message (id, chat_id, body) VALUES (%s, 1, %s)', [(600 + n, f'secret many {n}') for n in range(3)])
    with cursor.copy('COPY message (id, chat_id, body) FROM STDIN') as copy:
        copy.write_row((700, 1, 'secret copied'))
    with cursor.copy('COPY (SELECT id, body FROM message WHERE id >= 600 ORDER BY id) TO STDOUT') as copy:
        show('COPY', b''.join(bytes(part) for part in copy).decode())
show('delete by the body', Message.objects.filter(body__startswith='secret bulk 2').delete())
one.delete()
show('explain', 'message' in Message.objects.filter(body='x').explain())
Chat.objects.get(pk=3).delete()
show('rows in the end', rows())
