"""An application with SQLAlchemy's ORM on the view chatcrypt.messages.  The
variables of the environment are described in django_app.py."""
import os
import uuid
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

from sqlalchemy import (Column, DateTime, MetaData, Table, Text, Uuid, create_engine, delete, func, insert, select,
                        text, tuple_, update)
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Session

from tap import run, situation

CHAT = uuid.UUID(os.environ['CHAT'])
OTHER_CHAT = uuid.UUID(os.environ['OTHER_CHAT'])

# libpq reads the environment.  A pooler that pools by transaction takes no prepared statements.
engine = create_engine('postgresql+psycopg://', connect_args={'prepare_threshold': None})


class Base(DeclarativeBase):
    metadata = MetaData(schema='chatcrypt')


class Message(Base):
    __table__ = Table(
        'messages', Base.metadata,
        Column('message_id', Uuid, primary_key=True, default=uuid.uuid4),
        Column('chat_id', Uuid, nullable=False),
        Column('sender', Text),
        Column('body', Text),
        Column('created_at', DateTime(timezone=True), server_default=func.now()),
        Column('expires_at', DateTime(timezone=True)),
    )


@contextmanager
def acting_as(actor):
    with Session(engine) as session, session.begin():
        session.execute(select(func.chatcrypt.act_as(actor)))
        yield session


def alice():
    return acting_as('alice')


def message(body, **fields):
    return Message(**{'message_id': uuid.uuid4(), 'chat_id': CHAT, 'sender': 'alice', 'body': body, **fields})


def row(body, **fields):
    return {'message_id': uuid.uuid4(), 'chat_id': CHAT, 'sender': 'alice', 'body': body, **fields}


@situation('SQLAlchemy creates a message and reads it back')
def _():
    made = message('hello')
    key = made.message_id
    with alice() as session:
        session.add(made)
    with alice() as session:
        found = session.get(Message, key)
        assert found.body == 'hello' and found.created_at is not None


@situation('SQLAlchemy creates many messages in one flush, and in one statement')
def _():
    with alice() as session:
        session.add_all([message(f'flush {n}') for n in range(60)])
        session.flush()
        session.execute(insert(Message), [row(f'bulk {n}') for n in range(60)])
        count = select(func.count()).where(Message.body.like('flush %') | Message.body.like('bulk %'))
        assert session.scalar(count.where(Message.chat_id == CHAT)) == 120


@situation('SQLAlchemy gets a message, or creates the one that is missing')
def _():
    key = uuid.uuid4()
    for turn in ('once', 'twice'):
        with alice() as session:
            if session.get(Message, key) is None:
                session.add(message(turn, message_id=key))
    with alice() as session:
        assert session.get(Message, key).body == 'once'


@situation('merge() of SQLAlchemy creates and then updates')
def _():
    key = uuid.uuid4()
    for body in ('first', 'second'):
        with alice() as session:
            session.merge(message(body, message_id=key))
    with alice() as session:
        assert session.get(Message, key).body == 'second'


@situation('SQLAlchemy updates an instance and by a statement')
def _():
    made = message('before')
    key = made.message_id
    later = datetime.now(timezone.utc) + timedelta(days=1)
    with alice() as session:
        session.add(made)
        session.flush()
        made.body = 'after'
        session.flush()
        done = session.execute(update(Message).where(Message.message_id == key).values(expires_at=later))
        assert done.rowcount == 1
    with alice() as session:
        found = session.get(Message, key)
        assert (found.body, found.expires_at) == ('after', later)


@situation('with_for_update() of SQLAlchemy holds a message until the end of the transaction')
def _():
    with alice() as session:
        made = message('held')
        session.add(made)
        session.flush()
        held = session.execute(select(Message).where(Message.message_id == made.message_id)
                               .with_for_update()).scalar_one()
        held.body += ' and changed'
        session.flush()
        session.refresh(held)
        assert held.body == 'held and changed'


@situation('on_conflict_do_nothing() of SQLAlchemy skips a message that exists already')
def _():
    there = row('there')
    fresh = row('fresh')
    with alice() as session:
        session.execute(insert(Message), [there])
        session.execute(pg_insert(Message).on_conflict_do_nothing(), [{**there, 'body': 'again'}, fresh])
        assert session.get(Message, there['message_id']).body == 'there'
        assert session.get(Message, fresh['message_id']).body == 'fresh'


@situation('an upsert of SQLAlchemy fails with a hint that names put_messages(), and put_messages() does it')
def _():
    there = row('old')
    with alice() as session:
        session.execute(insert(Message), [there])
    upsert = pg_insert(Message).values({**there, 'body': 'new'})
    upsert = upsert.on_conflict_do_update(index_elements=['message_id'], set_={'body': upsert.excluded.body})
    try:
        with alice() as session:
            session.execute(upsert)
        raise AssertionError('the upsert did not fail')
    except DBAPIError as error:
        assert 'put_message' in str(error), error
    with alice() as session:
        session.execute(text('SELECT chatcrypt.put_messages(:chats, :ids, :bodies)'),
                        {'chats': [str(CHAT)], 'ids': [str(there['message_id'])], 'bodies': ['new']})
        assert session.get(Message, there['message_id']).body == 'new'


@situation('SQLAlchemy pages through a chat, by offset and by key')
def _():
    with alice() as session:
        newest = (select(Message.created_at, Message.message_id).where(Message.chat_id == CHAT)
                  .order_by(Message.created_at.desc(), Message.message_id.desc()).limit(10))
        first = session.execute(newest).all()
        second = session.execute(newest.offset(10)).all()
        by_key = session.execute(newest.where(
            tuple_(Message.created_at, Message.message_id) < tuple_(*first[-1]))).all()
        assert len(first) == 10 and second == by_key


@situation('a savepoint of SQLAlchemy that is rolled back takes back its message and no other')
def _():
    kept, lost = row('kept'), row('lost')
    with alice() as session:
        session.execute(insert(Message), [kept])
        savepoint = session.begin_nested()
        session.execute(insert(Message), [lost])
        savepoint.rollback()
        assert session.get(Message, lost['message_id']) is None
        assert session.get(Message, kept['message_id']).body == 'kept'


@situation('a duplicate inside a savepoint of SQLAlchemy leaves the transaction usable')
def _():
    there = row('unique')
    with alice() as session:
        session.execute(insert(Message), [there])
        try:
            with session.begin_nested():
                session.execute(insert(Message), [there])
            raise AssertionError('the duplicate was taken')
        except IntegrityError:
            pass
        assert session.get(Message, there['message_id']).body == 'unique'


@situation('SQLAlchemy sees only the chats of its actor, which each transaction names anew')
def _():
    with alice() as session:
        assert set(session.scalars(select(Message.chat_id))) == {CHAT}
    with acting_as('carol') as session:
        assert set(session.scalars(select(Message.chat_id))) == {OTHER_CHAT}


@situation('SQLAlchemy without an actor sees nothing and writes nothing')
def _():
    try:
        with Session(engine) as session:
            assert session.scalar(select(func.count()).select_from(Message)) == 0
    except DBAPIError:
        pass
    try:
        with Session(engine) as session, session.begin():
            session.add(message('nobody'))
        raise AssertionError('a message was written for nobody')
    except DBAPIError:
        pass


@situation('SQLAlchemy deletes an instance and by a statement')
def _():
    made = message('short-lived')
    key = made.message_id
    with alice() as session:
        session.add(made)
        session.flush()
        session.delete(made)
        session.flush()
        assert session.get(Message, key) is None
        done = session.execute(delete(Message).where(Message.chat_id == CHAT, Message.body.like('bulk %')))
        assert done.rowcount == 60


run()
